// The slides, highest score first, and what is said about each.

const NAMES = ["negative", "positive"];
const STATES = { empty: "no tissue found", failed: "tiling failed", skipped: "left out" };

const node = (tag, text, kind) => {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};

/** Sort slides by one source's score; those without one come last, by name. */
export function ranked(slides, source) {
  const score = (slide) => slide.calls[source]?.score ?? -1;
  return [...slides].sort((a, b) => score(b) - score(a) || a.id.localeCompare(b.id));
}

/** What is called, what is true, and whether they agree: pieces of text and their kinds. */
export function verdict(slide, source) {
  const call = slide.calls[source];
  const parts = [];
  if (call?.call != null) parts.push([`called ${NAMES[call.call]}`, ""]);
  if (slide.label != null) parts.push([`truth ${NAMES[slide.label] ?? slide.label}`, ""]);
  if (call?.call != null && slide.label != null && call.call !== slide.label) {
    parts.push(["✗ wrong", "wrong"]);
  }
  if (slide.cohort) parts.push([slide.cohort, ""]);
  if (slide.state && slide.state !== "done") parts.push([because(slide), ""]);
  if (slide.problem) parts.push([`cannot be shown: ${slide.problem}`, "lost"]);
  return parts;
}

const because = (slide) =>
  (STATES[slide.state] ?? slide.state) + (slide.reason && !slide.problem ? `: ${slide.reason}` : "");

/** Write a verdict into an element. */
export function write(element, parts) {
  element.replaceChildren();
  parts.forEach(([text, kind], index) => {
    if (index) element.append(" · ");
    element.append(node("span", text, kind));
  });
}

export class SlideList {
  /** `onChoose` is told the slide that is clicked. */
  constructor({ list, filter, count }, onChoose) {
    Object.assign(this, { list, count, filter, onChoose, shown: [] });
    filter.addEventListener("input", () => this.draw());
  }

  /** Show slides, sorted by the score of one source. */
  set(slides, source) {
    this.all = ranked(slides, source);
    this.source = source;
    this.draw();
  }

  draw() {
    const wanted = this.filter.value.trim().toLowerCase();
    this.shown = this.all.filter((slide) => slide.id.toLowerCase().includes(wanted));
    this.list.replaceChildren(...this.shown.map((slide) => this.#row(slide)));
    const bad = this.all.filter((slide) => slide.problem).length;
    const some = wanted ? `${this.shown.length} of ` : "";
    const note = bad ? `, ${bad} cannot be shown` : "";
    this.count.textContent = `${some}${this.all.length} slide${this.all.length === 1 ? "" : "s"}${note}`;
    this.mark(this.current);
  }

  #row(slide) {
    const button = node("button");
    button.type = "button";
    button.dataset.slide = slide.id;
    const picture = node(slide.thumbnail ? "img" : "span", "", slide.thumbnail ? "" : "blank");
    if (slide.thumbnail) {
      picture.loading = "lazy";
      picture.alt = "";
      picture.src = `thumbnails/${slide.key}`;
    }
    const middle = node("span");
    const name = node("strong", slide.id);
    const small = node("small");
    write(small, verdict(slide, this.source));
    middle.append(name, small);
    const score = slide.calls[this.source]?.score;
    button.append(picture, middle, node("span", score == null ? "–" : score.toFixed(3), "score"));
    button.addEventListener("click", () => this.onChoose(slide));
    const item = node("li");
    item.append(button);
    return item;
  }

  /** Mark the slide that is shown. */
  mark(slide) {
    this.current = slide;
    for (const button of this.list.querySelectorAll("button")) {
      const is = button.dataset.slide === slide?.id;
      button.toggleAttribute("aria-current", is);
      if (is) button.scrollIntoView({ block: "nearest" });
    }
  }

  /** The slide so many places down the list, round its end; the first where none is shown. */
  beside(slide, step) {
    const shown = this.shown;
    const place = shown.findIndex((other) => other.id === slide?.id);
    if (place < 0) return shown[0];
    return shown[(place + step + shown.length) % shown.length];
  }
}
