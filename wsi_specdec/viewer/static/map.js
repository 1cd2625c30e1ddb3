// The slide itself: deep zoom, what lies over it, the ruler and the tile under the pointer.

import { scoreLayer } from "./scores.js";

// Level-0 pixels are the map's coordinates: x to the right, y down, one screen pixel at zoom 0.
const PIXELS = L.extend({}, L.CRS.Simple, { transformation: new L.Transformation(1, 0, 1, 0) });
const CLOSEST = 3;
const RULER_PX = 120;
const OUTLINE = { tissue: "#00875a", annotation: "#1f5fd6" };

const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A level-0 point as Leaflet's latitude and longitude. */
const at = (x, y) => L.latLng(y, x);

/** Give a tile its size; between two zooms it laps over its neighbours. */
function lapping(tile, width, height) {
  tile.style.width = `calc(${width}px + var(--lap))`;
  tile.style.height = `calc(${height}px + var(--lap))`;
}

export class SlideView {
  /** `onMove` is told the centre and zoom; `onReady` that all that is seen has come. */
  constructor(element, { tip, ruler, onMove, onReady }) {
    this.element = element;
    this.tip = tip;
    this.ruler = ruler;
    this.onReady = onReady;
    this.map = L.map(element, {
      crs: PIXELS,
      attributionControl: false,
      zoomSnap: 0.25,
      zoomDelta: 1,
      wheelPxPerZoomLevel: 90,
      fadeAnimation: !still,
      zoomAnimation: !still,
      inertia: !still,
      maxZoom: CLOSEST,
    });
    this.map.createPane("pixels").classList.add("slide-pixels");
    this.map.getPane("pixels").style.zIndex = 210;
    this.map.createPane("scores").style.zIndex = 220;
    this.map.on("moveend", () => {
      const centre = this.map.getCenter();
      element.classList.toggle("between", this.map.getZoom() % 1 !== 0);
      this.#measure();
      onMove({ x: centre.lng, y: centre.lat, zoom: this.map.getZoom() });
    });
    // What the middle shows stays there when the room around the map changes.
    new ResizeObserver(() => this.slide && this.map.invalidateSize({ animate: false })).observe(element);
    this.map.on("mousemove click", (event) => this.#point(event));
    this.map.on("mouseout movestart", () => this.#point(null));
    this.clear();
  }

  /** Take away the slide and all that lies over it. */
  clear() {
    this.pixels?.remove();
    this.setScores(null);
    for (const layer of Object.values(this.outlines ?? {})) layer.remove();
    this.outlines = {};
    this.slide = this.pixels = null;
    this.ruler.hidden = true;
    this.busy(true);
  }

  busy(is) {
    this.element.setAttribute("aria-busy", String(is));
    if (!is) this.onReady();
  }

  /** Show a slide, at a place where one is given. */
  show(key, slide, place) {
    this.clear();
    this.slide = slide;
    const whole = L.latLngBounds(at(0, 0), at(slide.width, slide.height));
    // A screen of two pixels for one of the page gets tiles of twice the resolution.
    const finer = window.devicePixelRatio > 1 ? 1 : 0;
    this.side = slide.tile / 2 ** finer;
    this.map.setMinZoom(-slide.top - 1);
    this.map.setMaxBounds(whole.pad(0.5));
    this.home(place);
    this.pixels = L.tileLayer(`tiles/${key}/{z}/{x}_{y}.jpg`, {
      pane: "pixels",
      tileSize: this.side,
      zoomOffset: slide.top + finer,
      minZoom: -slide.top - 1,
      maxZoom: CLOSEST,
      minNativeZoom: -slide.top - finer,
      maxNativeZoom: -finer,
      bounds: whole,
      noWrap: true,
      keepBuffer: 1,
    });
    this.pixels.on("tileloadstart", (event) => this.#fit(event.tile, event.coords));
    this.pixels.on("loading", () => this.busy(true));
    this.pixels.on("load", () => this.busy(false));
    this.pixels.addTo(this.map);
    this.#measure();
  }

  /** Show the scanned area, or a place. */
  home(place) {
    const [x, y, width, height] = this.slide.bounds;
    this.map.invalidateSize({ animate: false });
    if (place?.zoom != null && place.x != null && place.y != null) {
      this.map.setView(at(place.x, place.y), place.zoom, { animate: false });
    } else {
      this.map.fitBounds(L.latLngBounds(at(x, y), at(x + width, y + height)), { animate: false });
    }
  }

  /** Tiles at the right and the bottom are smaller than the others. */
  #fit(tile, coords) {
    const step = this.side * 2 ** -coords.z;
    const side = (length, index) => Math.min(1, (length - index * step) / step) * this.side;
    lapping(tile, side(this.slide.width, coords.x), side(this.slide.height, coords.y));
    tile.alt = "";
  }

  /** Lay the scores of a table over the slide; null takes them away. */
  setScores(table, look, opacity) {
    this.scores?.remove();
    this.mark?.remove();
    this.scores = this.mark = null;
    this.table = table;
    if (!table) return;
    const { width, height, top } = this.slide;
    this.scores = scoreLayer(table, look, {
      opacity,
      pane: "scores",
      tileSize: 256,
      zIndex: 5,
      minZoom: -top - 1,
      maxZoom: CLOSEST,
      bounds: L.latLngBounds(at(0, 0), at(width, height)),
      noWrap: true,
    });
    this.scores.on("tileloadstart", (event) => lapping(event.tile, 256, 256));
    this.scores.addTo(this.map);
  }

  setLook(look, opacity) {
    this.scores?.setLook(look);
    this.scores?.setOpacity(opacity);
  }

  setGrey(grey) {
    this.element.classList.toggle("grey", grey);
  }

  /** Draw outlines of one kind; null takes them away. */
  setOutlines(kind, found) {
    this.outlines[kind]?.remove();
    delete this.outlines[kind];
    if (!found) return;
    const turned = (ring) => ring.map(([x, y]) => at(x, y));
    const shapes = found.flatMap((region) => region.polygons.map((rings) => rings.map(turned)));
    const style = { color: OUTLINE[kind] ?? "#1f5fd6", weight: 2.5, fill: false, interactive: false };
    this.outlines[kind] = L.polygon(shapes, style).addTo(this.map);
  }

  /** Tell the score of the tile under the pointer, and mark the tile. */
  #point(event) {
    const index = event && this.table ? this.table.at(event.latlng.lng, event.latlng.lat) : -1;
    this.tip.hidden = index < 0;
    this.mark?.remove();
    if (index < 0) return;
    const { x, y, size, values } = this.table;
    this.tip.textContent = values[index].toFixed(3);
    this.tip.dataset.tile = `${x[index]},${y[index]}`;
    const { x: left, y: top } = event.containerPoint;
    const room = this.map.getSize().x - this.tip.offsetWidth - 4;
    this.tip.style.transform = `translate(${Math.min(left + 14, room)}px, ${Math.max(top - 30, 4)}px)`;
    const corners = L.latLngBounds(at(x[index], y[index]), at(x[index] + size, y[index] + size));
    this.mark = L.rectangle(corners, { color: "#00b8d9", weight: 2, fill: false, interactive: false });
    this.mark.addTo(this.map);
  }

  /** Draw the ruler: a round length of 1, 2 or 5. */
  #measure() {
    const mpp = this.slide?.mpp;
    this.ruler.hidden = !mpp;
    if (!mpp) return;
    const perPixel = mpp / 2 ** this.map.getZoom();
    const decade = 10 ** Math.floor(Math.log10(perPixel * RULER_PX));
    const length = Math.max(...[1, 2, 5].map((n) => n * decade).filter((n) => n <= perPixel * RULER_PX));
    this.ruler.style.width = `${length / perPixel}px`;
    this.ruler.firstElementChild.textContent = length < 1000 ? `${length} µm` : `${length / 1000} mm`;
  }
}
