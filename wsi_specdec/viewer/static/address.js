// What is shown, as the part of the address after `#`: a link brings back slide, place and settings.

const TEXTS = ["slide", "source", "class"];
const NUMBERS = { opacity: [0, 1], threshold: [0, 1], x: [-1e9, 1e9], y: [-1e9, 1e9], zoom: [-40, 10] };
const FLAGS = ["grey"];

/** Read the settings that an address states; what is no value of its kind is passed over. */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const found = {};
  for (const name of TEXTS) {
    if (given.has(name)) found[name] = given.get(name);
  }
  for (const [name, [low, high]] of Object.entries(NUMBERS)) {
    const value = Number(given.get(name) || NaN);
    if (value >= low && value <= high) found[name] = value;
  }
  for (const name of FLAGS) {
    if (given.has(name)) found[name] = given.get(name) === "1";
  }
  if (given.has("outlines")) found.outlines = given.get("outlines").split(",").filter(Boolean);
  return found;
}

/** Write settings as an address states them. */
export function writeAddress(settings) {
  const parts = new URLSearchParams();
  for (const name of TEXTS) {
    if (settings[name] != null) parts.set(name, settings[name]);
  }
  for (const name of Object.keys(NUMBERS)) {
    if (settings[name] != null) parts.set(name, String(Math.round(settings[name] * 1000) / 1000));
  }
  for (const name of FLAGS) {
    if (settings[name]) parts.set(name, "1");
  }
  if (settings.outlines?.length) parts.set("outlines", settings.outlines.join(","));
  return `#${parts}`;
}
