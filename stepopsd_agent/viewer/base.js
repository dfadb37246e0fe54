// Data, and elements made of them. Text from records becomes text nodes only, here and nowhere else.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const OBSERVATION = 0, RESPONSE = 1, ACTION = 2, REWARD = 3, VALID = 4, KIND = 5, DISTANCE = 6, ERROR = 7, NOTE = 8;
const UNKNOWN = -1, UNREACHABLE = -2;
const SHOWN_AT_ONCE = 5000;

// Characters that cannot be seen, or that turn the text around, are spelled out.
const HIDDEN = new RegExp("[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e"
  + "\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]", "gu");

function put(node, text) {
  let from = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > from) node.append(text.slice(from, found.index));
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.textContent = "U+" + found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    node.append(mark);
    from = found.index + found[0].length;
  }
  if (from < text.length) node.append(text.slice(from));
  return node;
}

function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") node.className = value;
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    if (child instanceof Node) node.append(child);
    else put(node, String(child));
  }
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of children.flat()) node.append(child instanceof Node ? child : String(child));
  return node;
}

// A text that may be long: its beginning, and a button for the rest.
function longText(text, className) {
  const node = el("div", { class: "text " + className, dir: "auto" });
  put(node, text.slice(0, SHOWN_AT_ONCE));
  if (text.length <= SHOWN_AT_ONCE) return node;
  const more = el("button", { type: "button", class: "more" },
    `show all ${text.length.toLocaleString("en")} characters`);
  more.addEventListener("click", () => { more.remove(); put(node, text.slice(SHOWN_AT_ONCE)); });
  node.append(more);
  return node;
}

const number = (value, digits = 2) => value === null || value === undefined ? "–"
  : (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
const plain = (value) => value === null ? "–" : String(Number(value.toPrecision(3)));
const percent = (value) => (100 * value).toFixed(1) + " %";
const largest = (values) => Math.max(1e-12, ...values.map((value) => Math.abs(value ?? 0)));
const nice = (name) => name.replaceAll("_", " ");

// Credit as colour: how strong, of which sign. The page's style turns both into a colour for light and dark.
function tinted(node, value, scale) {
  const strength = value === null || value === undefined ? 0 : Math.min(1, Math.abs(value) / scale);
  node.classList.add("tint", strength < 0.005 ? "none" : value > 0 ? "plus" : "minus");
  node.style.setProperty("--strength", (100 * Math.sqrt(strength)).toFixed(0) + "%");
  return node;
}

// Share of pairs of a step that brings the goal nearer and another one that the credit ranks right.
function rankedRight(credit, truth) {
  const tied = 1e-6 * largest(credit);
  let right = 0, pairs = 0;
  truth.forEach((one, i) => truth.forEach((other, j) => {
    if (!(one > 0 && other <= 0)) return;
    const difference = credit[i] - credit[j];
    pairs += 1;
    right += difference > tied ? 1 : difference >= -tied ? 0.5 : 0;
  }));
  return pairs ? right / pairs : null;
}
