// The controls under the slide.

const byId = (id) => document.getElementById(id);

export class Bar {
  /** `onChange` is told the name of the setting and its new value. */
  constructor(colours, onChange) {
    this.onChange = onChange;
    for (const name of ["opacity", "threshold"]) {
      byId(name).addEventListener("input", (event) => this.#number(name, Number(event.target.value)));
    }
    byId("grey").addEventListener("change", (event) => onChange("grey", event.target.checked));
    for (const name of ["source", "class"]) {
      byId(name).addEventListener("change", (event) => onChange(name, event.target.value));
    }
    byId("bar").addEventListener("submit", (event) => event.preventDefault());
    const ramp = byId("legend").querySelector("i");
    ramp.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
    byId("legend").setAttribute("aria-label", "Colours of tile scores, from 0, pale, to 1, dark");
  }

  #number(name, value) {
    byId(`${name}-value`).textContent = value.toFixed(2);
    this.onChange(name, value);
  }

  /** Set the controls to the settings. */
  set({ opacity, threshold, grey }) {
    for (const [name, value] of Object.entries({ opacity, threshold })) {
      byId(name).value = value;
      byId(`${name}-value`).textContent = value.toFixed(2);
    }
    byId("grey").checked = grey;
  }

  /** Offer choices; with fewer than two there is nothing to choose. */
  offer(name, values, chosen) {
    const select = byId(name);
    select.replaceChildren(...values.map((value) => new Option(value, value)));
    select.value = chosen;
    select.parentElement.hidden = values.length < 2;
  }

  /** Offer outlines of several kinds. */
  offerOutlines(kinds, chosen) {
    byId("outlines").replaceChildren(
      ...kinds.map((kind) => {
        const label = document.createElement("label");
        const box = document.createElement("input");
        box.type = "checkbox";
        box.checked = chosen.includes(kind);
        box.addEventListener("change", () => this.onChange("outlines", this.outlines()));
        box.value = kind;
        label.className = "tick";
        label.append(box, ` Outline of ${kind}`);
        return label;
      }),
    );
  }

  /** The kinds of outlines that are ticked. */
  outlines() {
    return [...byId("outlines").querySelectorAll("input:checked")].map((box) => box.value);
  }

  /** Say something about the overlay. */
  say(text) {
    byId("message").textContent = text;
  }
}
