// Tile scores: which tile lies where, and the layer that draws them.

// Tiles a side in one bucket of the index.
const BUCKET_TILES = 16;

/** The tiles of one slide, found by where they lie in level-0 pixels. */
export class ScoreTable {
  constructor(data, name) {
    this.x = data.x;
    this.y = data.y;
    this.size = data.size;
    this.values = data.classes[name] ?? [];
    // Of tiles that overlap, each is drawn as the part nearest to its centre.
    this.cell = Math.min(data.size, data.stride);
    this.inset = (data.size - this.cell) / 2;
    this.step = this.cell * BUCKET_TILES;
    this.buckets = new Map();
    for (let index = 0; index < this.values.length; index += 1) {
      if (this.values[index] === null) continue;
      const left = this.x[index] + this.inset;
      const top = this.y[index] + this.inset;
      this.#each(left, top, left + this.cell, top + this.cell, (key) => {
        if (!this.buckets.has(key)) this.buckets.set(key, []);
        this.buckets.get(key).push(index);
      });
    }
  }

  /** Call with the bucket of each part of a rectangle. */
  #each(left, top, right, bottom, call) {
    for (let row = Math.floor(top / this.step); row * this.step < bottom; row += 1) {
      for (let column = Math.floor(left / this.step); column * this.step < right; column += 1) {
        call(`${column},${row}`);
      }
    }
  }

  /** Call with each tile that may touch a rectangle; some are called for twice. */
  within(left, top, right, bottom, call) {
    this.#each(left, top, right, bottom, (key) => (this.buckets.get(key) ?? []).forEach(call));
  }

  /** The tile at a point: its index, or -1. */
  at(x, y) {
    let found = -1;
    this.within(x, y, x + 1, y + 1, (index) => {
      const right = x - this.x[index] - this.inset;
      const down = y - this.y[index] - this.inset;
      if (right >= 0 && down >= 0 && right < this.cell && down < this.cell) found = index;
    });
    return found;
  }
}

/** Make the layer that draws a table; `look` has `colours`, `threshold`. */
export function scoreLayer(table, look, options) {
  return new ScoreLayer(table, look, options);
}

// Leaflet is a classic script, so its classes are made once it is there.
const ScoreLayer = L.GridLayer.extend({
  initialize(table, look, options) {
    this.table = table;
    this.look = look;
    this.canvases = new Map();
    L.setOptions(this, options);
    this.on("tileunload", (event) => this.canvases.delete(event.tile));
  },

  createTile(coords) {
    const canvas = document.createElement("canvas");
    this.canvases.set(canvas, coords);
    this.paint(canvas, coords);
    return canvas;
  },

  /** Draw anew with another threshold or other colours, in place, so that nothing flickers. */
  setLook(look) {
    this.look = look;
    for (const [canvas, coords] of this.canvases) this.paint(canvas, coords);
  },

  paint(canvas, coords) {
    const side = this.getTileSize().x;
    const ratio = Math.max(1, Math.ceil(window.devicePixelRatio || 1));
    canvas.width = canvas.height = side * ratio;
    const context = canvas.getContext("2d");
    const { table, look } = this;
    // Device pixels of the canvas for one level-0 pixel; zoom 0 has one screen pixel for it.
    const scale = 2 ** coords.z * ratio;
    const [left, top] = [coords.x * side * ratio, coords.y * side * ratio];
    const reach = side * ratio;
    const last = look.colours.length - 1;
    table.within(left / scale, top / scale, (left + reach) / scale, (top + reach) / scale, (index) => {
      const value = table.values[index];
      if (value < look.threshold) return;
      // Both edges are rounded alike, so that neighbours share one and leave no gap.
      const x0 = Math.round((table.x[index] + table.inset) * scale) - left;
      const y0 = Math.round((table.y[index] + table.inset) * scale) - top;
      const x1 = Math.round((table.x[index] + table.inset + table.cell) * scale) - left;
      const y1 = Math.round((table.y[index] + table.inset + table.cell) * scale) - top;
      context.fillStyle = look.colours[Math.round(Math.min(1, Math.max(0, value)) * last)];
      context.fillRect(x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
    });
  },
});
