// Ties the page together: settings, the list, the controls and the slide.

import { readAddress, writeAddress } from "./address.js";
import { Bar } from "./bar.js";
import { SlideList, verdict, write } from "./list.js";
import { SlideView } from "./map.js";
import { ScoreTable } from "./scores.js";

const byId = (id) => document.getElementById(id);
const DEFAULTS = { opacity: 0.5, threshold: 0, grey: false, outlines: [] };

/** Fetch JSON; what cannot be had is an error with the server's reason. */
async function fetched(path) {
  const answer = await fetch(path);
  const type = answer.headers.get("content-type") ?? "";
  const content = type.includes("json") ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(content.error);
  return content;
}

class Page {
  constructor(listing) {
    this.listing = listing;
    this.settings = { ...DEFAULTS };
    // Counts slides chosen, so that an answer that comes late is passed over.
    this.turn = 0;
    this.view = new SlideView(byId("map"), {
      tip: byId("tip"),
      ruler: byId("ruler"),
      onMove: (place) => this.remember(place),
      onReady: () => this.tell(),
    });
    this.list = new SlideList(
      { list: byId("list"), filter: byId("filter"), count: byId("count") },
      (slide) => this.choose(slide),
    );
    this.bar = new Bar(listing.colours, (name, value) => this.change(name, value));
    document.title = `${listing.title}: slides`;
    document.body.dataset.scored = String(listing.sources.length > 0);
    byId("bar").hidden = !listing.sources.length && !listing.slides.length;
    byId("previous").addEventListener("click", () => this.step(-1));
    byId("next").addEventListener("click", () => this.step(1));
    byId("toggle").addEventListener("click", () => this.showList(!document.body.classList.contains("listing")));
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  get source() {
    return Math.max(0, this.listing.sources.indexOf(this.settings.source));
  }

  get look() {
    return { colours: this.listing.colours, threshold: this.settings.threshold };
  }

  /** Do what the address says. */
  follow() {
    const given = readAddress(location.hash);
    this.settings = { ...DEFAULTS, ...given };
    this.settings.source = this.listing.sources[this.source];
    this.bar.set(this.settings);
    this.bar.offer("source", this.listing.sources, this.settings.source);
    this.view.setGrey(this.settings.grey);
    this.list.set(this.listing.slides, this.source);
    const named = this.listing.slides.find((slide) => slide.id === given.slide);
    const slide = named ?? this.list.shown[0];
    if (slide) this.choose(slide, given);
  }

  /** Keep a setting, and the address in step with it. */
  remember(changes) {
    if (!this.slide) return;
    Object.assign(this.settings, changes);
    history.replaceState(null, "", writeAddress(this.settings));
  }

  /** Show a slide, at a place where one is given. */
  async choose(slide, place) {
    this.turn += 1;
    const turn = this.turn;
    this.slide = null;
    this.ready = false;
    this.tell();
    this.view.clear();
    this.bar.say("");
    this.list.mark(slide);
    this.showList(false);
    byId("name").textContent = slide.id;
    this.sayVerdict(slide);
    this.problem(slide.problem);
    const { x, y, zoom, ...rest } = this.settings;
    this.settings = { ...rest, slide: slide.id };
    history.replaceState(null, "", writeAddress({ ...this.settings, ...place, slide: slide.id }));
    if (slide.problem) {
      this.bar.offerOutlines([], []);
      this.ready = true;
      this.view.busy(false);
      return;
    }
    try {
      const about = await fetched(`api/slides/${slide.key}`);
      if (turn !== this.turn) return;
      this.slide = { ...slide, about };
      this.view.show(slide.key, about, place);
      this.bar.offerOutlines(about.outlines, this.settings.outlines);
      await Promise.all([this.loadScores(), this.loadOutlines()]);
    } catch (error) {
      if (turn === this.turn) this.problem(error.message);
    }
    if (turn !== this.turn) return;
    this.ready = true;
    this.tell();
  }

  /** Get the tile scores of the slide and lay them over it. */
  async loadScores() {
    const { turn, slide } = this;
    this.view.setScores(null);
    this.scores = null;
    if (!slide.about.scored[this.source]) {
      this.bar.offer("class", [], "");
      if (this.listing.sources.length) this.bar.say("This model has no tile scores of this slide.");
      return;
    }
    const data = await fetched(`api/slides/${slide.key}/scores/${this.source}`);
    if (turn !== this.turn) return;
    this.scores = data;
    this.drawScores();
  }

  drawScores() {
    const names = Object.keys(this.scores.classes);
    const name = names.includes(this.settings.class) ? this.settings.class : names[names.length - 1];
    this.bar.offer("class", names, name);
    this.table = new ScoreTable(this.scores, name);
    this.view.setScores(this.table, this.look, this.settings.opacity);
    this.count();
  }

  /** Say how many tiles are at or above the threshold. */
  count() {
    if (!this.table) return;
    const { values } = this.table;
    const over = values.filter((value) => value !== null && value >= this.settings.threshold).length;
    this.bar.say(
      values.length
        ? `${over.toLocaleString("en")} of ${values.length.toLocaleString("en")} tiles score ${this.settings.threshold.toFixed(2)} or more`
        : "This slide has no tiles.",
    );
  }

  async loadOutlines() {
    const { turn, slide } = this;
    for (const kind of slide.about.outlines) {
      const wanted = this.settings.outlines.includes(kind);
      const found = wanted ? await fetched(`api/slides/${slide.key}/outlines/${kind}`) : null;
      if (turn !== this.turn) return;
      this.view.setOutlines(kind, found);
    }
  }

  /** A control was moved. */
  async change(name, value) {
    this.remember({ [name]: value });
    if (name === "grey") this.view.setGrey(value);
    if (name === "opacity" || name === "threshold") {
      this.view.setLook(this.look, this.settings.opacity);
      this.count();
    }
    if (name === "source") this.list.set(this.listing.slides, this.source);
    if (!this.slide) return;
    try {
      if (name === "class" && this.scores) this.drawScores();
      if (name === "outlines") await this.loadOutlines();
      if (name === "source") {
        this.sayVerdict(this.slide);
        await this.loadScores();
      }
    } catch (error) {
      this.bar.say(error.message);
    }
  }

  step(by) {
    const shown = this.listing.slides.find((slide) => slide.id === this.settings.slide);
    const slide = this.list.beside(shown, by);
    if (slide) this.choose(slide);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") this.showList(false);
    if (["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "checkbox") return;
    const doing = {
      n: () => this.step(1),
      p: () => this.step(-1),
      PageDown: () => this.step(1),
      PageUp: () => this.step(-1),
      h: () => this.setOpacity(this.settings.opacity ? 0 : (this.before ?? DEFAULTS.opacity)),
      "0": () => this.slide && this.view.home(),
    }[event.key];
    if (!doing) return;
    event.preventDefault();
    doing();
  }

  setOpacity(opacity) {
    if (!opacity) this.before = this.settings.opacity;
    this.change("opacity", opacity);
    this.bar.set(this.settings);
  }

  showList(is) {
    document.body.classList.toggle("listing", is);
    byId("toggle").setAttribute("aria-expanded", String(is));
  }

  sayVerdict(slide) {
    const call = slide.calls[this.source];
    const score = call?.score == null ? [] : [[`score ${call.score.toFixed(3)}`, ""]];
    if (call?.threshold != null) score.push([`slide threshold ${call.threshold.toFixed(3)}`, ""]);
    write(byId("verdict"), [...score, ...verdict({ ...slide, problem: "" }, this.source)]);
  }

  problem(text) {
    byId("problem").hidden = !text;
    byId("problem").textContent = text ? `This slide cannot be shown. ${text}` : "";
  }

  /** Say on the body which slide is shown whole, for those who look from outside. */
  tell() {
    const whole = this.ready && byId("map").getAttribute("aria-busy") === "false";
    document.body.dataset.shown = whole ? this.settings.slide : "";
  }
}

fetched("api/slides").then(
  (listing) => new Page(listing),
  (error) => {
    byId("name").textContent = "Nothing to show";
    byId("problem").hidden = false;
    byId("problem").textContent = error.message;
  },
);
