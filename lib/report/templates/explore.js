// The page of explore.html: strips to look at, one at a time, with what is true, predicted and probable drawn on
// them. All of it is in the page: nothing is fetched. Names are set as text, never as HTML.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const unpacks = "DecompressionStream" in window; // else all works but maps and what is drawn anew from them
const element = (id) => document.getElementById(id);
const state = {
  layers: { truth: page.has_truth, prediction: true, probability: false },
  rules: true, // whether filters and smallest sizes count for what is redrawn
  classes: page.classes.map(() => true), // which are drawn
  thresholds: page.classes.map((one) => one.threshold),
  visible: [], // strips that the filters leave, in order
  strip: null,
  view: { scale: 1, left: 0, top: 0 }, // screen pixels a pixel of the strip; the strip's pixel at the corner
  fitted: true,
};
let opened = null; // the strip on the screen: its decoded picture, masks and maps

// ---- masks and maps ----

/** A run-length text ("start length ...", from 1, down the columns) as a mask of height * width bytes, row by row. */
function maskOf(text, height, width) {
  const mask = new Uint8Array(height * width);
  const runs = text ? text.split(" ").map(Number) : [];
  for (let index = 0; index < runs.length; index += 2) {
    for (let pixel = runs[index] - 1; pixel < runs[index] - 1 + runs[index + 1]; pixel++) {
      mask[(pixel % height) * width + Math.floor(pixel / height)] = 1;
    }
  }
  return mask;
}

/** The levels 0 to 255 of a map: base64 of deflated rows, each byte less the one to its left. */
async function levelsOf(map) {
  const packed = Uint8Array.from(atob(map.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const levels = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let pixel = 0; pixel < levels.length; pixel++) {
    if (pixel % map.width) levels[pixel] += levels[pixel - 1];
  }
  return levels;
}

/** A map at the size of the strip, bilinear, pixels' middles on each other. */
function enlarged(levels, map, height, width) {
  if (map.height === height && map.width === width) return levels;
  const result = new Float32Array(height * width);
  const place = (index, size, smaller) => {
    const middle = Math.min(Math.max(((index + 0.5) * smaller) / size - 0.5, 0), smaller - 1);
    const first = Math.floor(middle);
    return [first, Math.min(first + 1, smaller - 1), middle - first];
  };
  const columns = Array.from({ length: width }, (_, x) => place(x, width, map.width));
  for (let y = 0; y < height; y++) {
    const [above, below, down] = place(y, height, map.height);
    for (let x = 0; x < width; x++) {
      const [left, right, along] = columns[x];
      const upper = levels[above * map.width + left] * (1 - along) + levels[above * map.width + right] * along;
      const lower = levels[below * map.width + left] * (1 - along) + levels[below * map.width + right] * along;
      result[y * width + x] = upper * (1 - down) + lower * down;
    }
  }
  return result;
}

/** Take the pieces (8 neighbours) of fewer pixels than `smallest` out of a mask. */
function dropSmall(mask, height, width, smallest) {
  const seen = new Uint8Array(mask.length);
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const piece = [start];
    seen[start] = 1;
    for (let next = 0; next < piece.length; next++) {
      const x = piece[next] % width;
      const y = (piece[next] - x) / width;
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const pixel = row * width + column;
          if (mask[pixel] && !seen[pixel]) {
            seen[pixel] = 1;
            piece.push(pixel);
          }
        }
      }
    }
    if (piece.length < smallest) for (const pixel of piece) mask[pixel] = 0;
  }
}

function areaOf(mask) {
  let area = 0;
  for (const value of mask) area += value;
  return area;
}

/** 2 |A and B| / (|A| + |B|); 1 where both are empty. */
function dice(one, other) {
  let shared = 0;
  for (let pixel = 0; pixel < one.length; pixel++) shared += one[pixel] & other[pixel];
  const total = areaOf(one) + areaOf(other);
  return total ? (2 * shared) / total : 1;
}

/** The mask of a class and its Dice, made anew only where its threshold or the rules have changed. */
function drawnOf(index) {
  const settings = `${state.thresholds[index]} ${state.rules}`;
  if (opened.drawn[index]?.settings === settings) return opened.drawn[index];
  const mask = drawnMask(index);
  const unchanged = mask === opened.predicted[index]; // then its Dice is that of the whole strip, at its own size
  return { settings, mask, dice: unchanged || !opened.truth ? opened.strip.dice[index] : dice(opened.truth[index], mask) };
}

/** The mask of a class as the thresholds and rules on the page have it: as predicted where nothing was changed. */
function drawnMask(index) {
  const { strip, levels, predicted } = opened;
  const { threshold, smallest_component, minimum_area } = page.classes[index];
  if (state.rules && state.thresholds[index] === threshold) return predicted[index];
  if (!levels[index]) return predicted[index];
  const mask = new Uint8Array(predicted[index].length);
  if (state.rules && !strip.passed[index]) return mask;
  const lowest = 255 * state.thresholds[index] - 1e-3;
  for (let pixel = 0; pixel < mask.length; pixel++) mask[pixel] = levels[index][pixel] >= lowest ? 1 : 0;
  if (!state.rules) return mask;
  const share = strip.scale * strip.scale; // a strip that is shown smaller has smaller pieces
  if (smallest_component > 1) dropSmall(mask, strip.height, strip.width, smallest_component * share);
  return minimum_area === null || areaOf(mask) < minimum_area * share ? mask.fill(0) : mask;
}

// ---- which strips ----

/** "missed", "false alarm", "found" or "empty": what became of a class on a strip. */
function kindOf(strip, index) {
  const truth = strip.truth && strip.truth[index];
  if (strip.predicted[index]) return truth || !page.has_truth ? "found" : "false alarm";
  return truth ? "missed" : "empty";
}

const worstDice = (strip) => Math.min(...strip.dice);
// Of a strip's pairs with the classes asked for: those that make it one to show. `every`: any class was asked for.
const have = (kind) => (pairs) => pairs.some((pair) => pair.kind === kind);
const all = (pairs, every) => every || pairs.some((pair) => pair.kind !== "empty");
const empty = (pairs) => pairs.every((pair) => pair.kind === "empty");
const KINDS = page.has_truth
  ? {
      "all strips": all,
      "missed defects": have("missed"),
      "false alarms": have("false alarm"),
      "defects found, Dice below 0.5": (pairs) => pairs.some((pair) => pair.kind === "found" && pair.dice < 0.5),
      "defects found": have("found"),
      "nothing there, nothing found": empty,
    }
  : { "all strips": all, "strips with defects": have("found"), "strips without": empty };
const byNumber = (key) => (one, other) => key(one) - key(other);
const ORDERS = {
  "interest, as chosen": null,
  ...(page.has_truth ? { "lowest Dice": byNumber(worstDice) } : {}),
  "least sure": byNumber((strip) => strip.doubt),
  "most surely defective": byNumber((strip) => -(strip.defect_probability ?? -1)),
  "most area in masks": byNumber((strip) => -strip.area),
  name: (one, other) => (one.name < other.name ? -1 : 1),
};

function applyFilters() {
  const isShown = KINDS[element("kind").value];
  const chosen = element("class").value;
  state.visible = page.strips.filter((strip) => {
    const pairs = page.classes.map((_, index) => ({ kind: kindOf(strip, index), dice: strip.dice[index] }));
    return chosen === "" ? isShown(pairs, true) : isShown([pairs[chosen]], false);
  });
  const order = ORDERS[element("order").value];
  if (order) state.visible.sort(order);
  fillList();
  if (!state.visible.includes(state.strip)) show(state.visible[0] ?? null);
  else markCurrent();
}

// ---- the list ----

function make(tag, text = "", classes = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes;
  return made;
}

const number = (value) => (value === null ? "–" : value.toFixed(value > 0 && value < 0.001 ? 4 : 3));

function fillList() {
  element("count").textContent = `${state.visible.length} of ${page.strips.length} strips`;
  element("list").replaceChildren(
    ...state.visible.map((strip) => {
      const button = make("button");
      const picture = new Image();
      picture.loading = "lazy";
      picture.alt = "";
      picture.src = strip.image;
      const marks = make("span", "", "marks");
      page.classes.forEach((one, index) => {
        const kind = kindOf(strip, index);
        if (kind === "empty") return;
        const words = kind === "found" ? (page.has_truth ? `Dice ${number(strip.dice[index])}` : "found") : kind;
        const mark = make("span", `${index + 1} ${words}`, kind.replace(" ", "-"));
        mark.style.setProperty("--of-class", one.colour);
        marks.append(mark);
      });
      if (!marks.children.length) marks.append(make("span", page.has_truth ? "nothing there, nothing found" : "nothing found"));
      button.type = "button";
      button.append(picture, make("span", strip.name, "name"), marks);
      button.addEventListener("click", () => show(strip));
      const item = make("li");
      item.append(button);
      return item;
    }),
  );
}

function markCurrent() {
  [...element("list").children].forEach((item, index) => {
    const current = state.visible[index] === state.strip;
    if (current) item.firstChild.setAttribute("aria-current", "true");
    else item.firstChild.removeAttribute("aria-current");
    if (current) item.scrollIntoView({ block: "nearest" });
  });
}

function step(by) {
  const index = state.visible.indexOf(state.strip) + by;
  if (state.visible[index]) show(state.visible[index]);
}

// ---- the strip on the screen ----

async function show(strip) {
  state.strip = strip;
  markCurrent();
  document.body.dataset.shown = "";
  if (!strip) {
    opened = null;
    element("name").textContent = "No strip is of this kind";
    element("facts").textContent = "";
    return redraw();
  }
  const picture = new Image();
  picture.src = strip.image;
  const decoded = picture.decode().catch(() => null);
  const levels = await Promise.all(
    strip.maps.map(async (map) => map && unpacks && enlarged(await levelsOf(map), map, strip.height, strip.width)),
  );
  await decoded;
  if (state.strip !== strip) return; // another was asked for meanwhile
  const masks = (texts) => texts.map((text) => maskOf(text, strip.height, strip.width));
  opened = { strip, picture, levels, predicted: masks(strip.predicted), truth: strip.truth && masks(strip.truth), drawn: [] };
  element("name").textContent = strip.name;
  const stated = [`defect ${number(strip.defect_probability)}`];
  if (strip.class_probability.some((value) => value !== null)) {
    stated.push(`classes ${strip.class_probability.map(number).join(" ")}`);
  }
  const size = strip.scale < 1 ? `, shown at ${Math.round(100 * strip.scale)} % of its size` : "";
  element("facts").textContent = `classifiers: ${stated.join(", ")}; ${strip.shape.join(" x ")} pixels${size}${strip.remark}`;
  fit();
  redraw();
  document.body.dataset.shown = strip.name;
  history.replaceState(null, "", `#${encodeURIComponent(strip.name)}`);
}

/** Make masks, Dice and picture anew after anything has changed. */
function redraw() {
  for (const [name, on] of Object.entries(state.layers)) element(name).setAttribute("aria-pressed", on);
  if (opened) {
    opened.drawn = page.classes.map((_, index) => drawnOf(index));
    opened.overlays = {};
  }
  fillClasses();
  draw();
}

/** The rows of the classes: what is drawn of each, its threshold and its Dice. */
function fillClasses() {
  let changed = !state.rules;
  [...element("classes").tBodies[0].rows].forEach((row, index) => {
    const one = page.classes[index];
    const moved = state.thresholds[index] !== one.threshold;
    changed ||= moved;
    row.querySelector("input[type=checkbox]").checked = state.classes[index];
    row.querySelector("input[type=range]").value = state.thresholds[index];
    row.querySelector("output").textContent = state.thresholds[index].toFixed(2);
    row.cells[4].textContent = opened ? remarkOn(opened.strip, index) : "";
  });
  if (page.has_truth) {
    fillDice(2, opened ? opened.strip.dice : []);
    fillDice(3, opened ? opened.drawn.map((one) => one.dice) : []);
  }
  const notes = [];
  if (changed) {
    notes.push("Redrawn from the stored probabilities.");
    if (page.has_truth) notes.push("These Dice are not cross-fitted: a threshold that was moved while looking at the truth has learned from it.");
  }
  element("remark").textContent = notes.join(" ");
}

/** The Dice of each class in a column of the table, and their mean. */
function fillDice(column, values) {
  const mean = values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  [...element("classes").querySelectorAll("tbody tr, tfoot tr")].forEach((row, index) => {
    const value = index < page.classes.length ? values[index] : mean;
    row.cells[column].textContent = opened ? number(value) : "";
    row.cells[column].classList.toggle("moved", column === 3 && row.cells[3].textContent !== row.cells[2].textContent);
  });
}

function remarkOn(strip, index) {
  const kind = kindOf(strip, index);
  const reasons = [{ found: "", empty: page.has_truth ? "neither true nor predicted" : "" }[kind] ?? kind];
  if (page.classes[index].minimum_area === null) reasons.push("the run never predicts this class");
  else if (!strip.passed[index]) reasons.push("a filter dropped it");
  if (!unpacks) reasons.push("this browser cannot unpack probabilities");
  else if (!opened.levels[index] && kind !== "empty") {
    reasons.push(strip.has_maps && strip.passed[index] ? `no probability above ${page.faintest}` : "no probabilities stored");
  }
  return reasons.filter(Boolean).join("; ");
}

// ---- drawing ----

const rgb = (code) => [1, 3, 5].map((start) => parseInt(code.slice(start, start + 2), 16));

/** The pixels around a mask, up to `reach` away, row by row. */
function outline(mask, height, width, reach) {
  const along = new Uint8Array(mask.length);
  const wide = new Uint8Array(mask.length);
  for (let pixel = 0; pixel < mask.length; pixel++) {
    if (!mask[pixel]) continue;
    const x = pixel % width;
    along.fill(1, pixel - Math.min(x, reach), pixel + Math.min(width - 1 - x, reach) + 1);
  }
  for (let pixel = 0; pixel < mask.length; pixel++) {
    if (!along[pixel]) continue;
    const y = Math.floor(pixel / width);
    for (let row = Math.max(y - reach, 0); row <= Math.min(y + reach, height - 1); row++) {
      wide[row * width + (pixel % width)] = 1;
    }
  }
  for (let pixel = 0; pixel < mask.length; pixel++) wide[pixel] &= 1 - mask[pixel];
  return wide;
}

/** A canvas of the strip's size with all layers, for outlines of a width in its pixels. */
function overlay(reach) {
  if (opened.overlays[reach]) return opened.overlays[reach];
  const { height, width } = opened.strip;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const paint = (pixel, [red, green, blue], alpha) => {
    const at = 4 * pixel;
    const under = (image.data[at + 3] / 255) * (1 - alpha);
    const both = alpha + under;
    image.data[at] = (red * alpha + image.data[at] * under) / both;
    image.data[at + 1] = (green * alpha + image.data[at + 1] * under) / both;
    image.data[at + 2] = (blue * alpha + image.data[at + 2] * under) / both;
    image.data[at + 3] = 255 * both;
  };
  page.classes.forEach((one, index) => {
    if (!state.classes[index]) return;
    const colour = rgb(one.colour);
    const levels = opened.levels[index];
    const drawn = opened.drawn[index].mask;
    const truth = opened.truth && state.layers.truth ? outline(opened.truth[index], height, width, reach) : null;
    for (let pixel = 0; pixel < drawn.length; pixel++) {
      if (state.layers.probability && levels && levels[pixel]) paint(pixel, colour, (0.85 * levels[pixel]) / 255);
      if (state.layers.prediction && drawn[pixel]) paint(pixel, colour, 0.45);
      if (truth && truth[pixel]) paint(pixel, colour, 1);
    }
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  opened.overlays[reach] = canvas;
  return canvas;
}

function draw() {
  const canvas = element("view");
  const context = canvas.getContext("2d");
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * dense);
  canvas.height = Math.round(canvas.clientHeight * dense);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!opened) return;
  const { scale, left, top } = state.view;
  const { height, width } = opened.strip;
  context.setTransform(scale * dense, 0, 0, scale * dense, -left * scale * dense, -top * scale * dense);
  context.imageSmoothingEnabled = scale * dense < 3; // from there on pixels are seen as such
  context.imageSmoothingQuality = "high";
  context.drawImage(opened.picture, 0, 0, width, height);
  context.drawImage(overlay(Math.max(1, Math.round(1.5 / scale))), 0, 0);
}

/** Show the whole strip. */
function fit() {
  const canvas = element("view");
  const { height, width } = opened.strip;
  canvas.style.height = "";
  const tallest = canvas.clientHeight;
  const scale = Math.min(canvas.clientWidth / width, tallest / height);
  const least = canvas.clientWidth > 700 ? 0.36 * window.innerHeight : 160; // room to look around in when zoomed
  canvas.style.height = `${Math.max(Math.ceil(height * scale), Math.round(least))}px`;
  state.view = { scale, left: -(canvas.clientWidth / scale - width) / 2, top: -(canvas.clientHeight / scale - height) / 2 };
  state.fitted = true;
}

/** Zoom about a point of the canvas, in its CSS pixels; without one, about its middle. */
function zoom(factor, x = element("view").clientWidth / 2, y = element("view").clientHeight / 2) {
  if (!opened) return;
  const { scale, left, top } = state.view;
  const wanted = Math.min(Math.max(scale * factor, 0.05), 32);
  state.view = { scale: wanted, left: left + x / scale - x / wanted, top: top + y / scale - y / wanted };
  state.fitted = false;
  keepInside();
  draw();
}

function pan(x, y) {
  state.view.left += x / state.view.scale;
  state.view.top += y / state.view.scale;
  state.fitted = false;
  keepInside();
  draw();
}

/** Something of the strip stays in the middle. */
function keepInside() {
  const { scale } = state.view;
  const half = [element("view").clientWidth / scale / 2, element("view").clientHeight / scale / 2];
  state.view.left = Math.min(Math.max(state.view.left, -half[0]), opened.strip.width - half[0]);
  state.view.top = Math.min(Math.max(state.view.top, -half[1]), opened.strip.height - half[1]);
}

function whole() {
  if (!opened) return;
  fit();
  draw();
}

const LEGEND = page.has_truth ? "Outlines are the truth, what is filled is predicted." : "What is filled is predicted.";

/** Name the pixel under the pointer, and what is there. */
function point(event) {
  const { scale, left, top } = state.view;
  const x = opened ? Math.floor(left + event.offsetX / scale) : -1;
  const y = opened ? Math.floor(top + event.offsetY / scale) : -1;
  let text = LEGEND;
  if (opened && x >= 0 && y >= 0 && x < opened.strip.width && y < opened.strip.height) {
    const pixel = y * opened.strip.width + x;
    const parts = page.classes.map((one, index) => {
      const level = opened.levels[index] ? opened.levels[index][pixel] : 0;
      const words = [level ? (level / 255).toFixed(2) : "", opened.drawn[index].mask[pixel] ? "predicted" : ""];
      if (opened.truth && opened.truth[index][pixel]) words.push("true");
      const there = words.filter(Boolean).join(", ");
      return there && `${one.title}: ${there}`;
    });
    text = [`column ${x}, row ${y}`, ...parts.filter(Boolean)].join("; ");
  }
  element("pointer").textContent = text;
}

// ---- what can be clicked and typed ----

function toggle(layer) {
  if (layer === "truth" && !page.has_truth) return;
  state.layers[layer] = !state.layers[layer];
  redraw();
}

function setThreshold(index, value) {
  state.thresholds[index] = Math.round(100 * Math.min(Math.max(value, page.faintest), 1)) / 100;
  redraw();
}

function reset() {
  state.thresholds = page.classes.map((one) => one.threshold);
  state.rules = element("rules").checked = true;
  redraw();
}

const shift = (by) => page.classes.forEach((_, index) => state.classes[index] && setThreshold(index, state.thresholds[index] + by));
const KEYS = {
  t: () => toggle("truth"),
  p: () => toggle("prediction"),
  m: () => toggle("probability"),
  f: () => element("rules").click(),
  r: reset,
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  0: whole,
  "[": () => shift(-0.05),
  "]": () => shift(0.05),
  "?": () => element("keys").showModal(),
  ArrowRight: (event) => (event.shiftKey ? pan(80, 0) : step(1)),
  ArrowDown: (event) => (event.shiftKey ? pan(0, 40) : step(1)),
  ArrowLeft: (event) => (event.shiftKey ? pan(-80, 0) : step(-1)),
  ArrowUp: (event) => (event.shiftKey ? pan(0, -40) : step(-1)),
};

document.addEventListener("keydown", (event) => {
  const types = event.target.matches("select") || (event.target.matches("input[type=range]") && event.key.startsWith("Arrow"));
  if (types || event.ctrlKey || event.altKey || event.metaKey || element("keys").open) return;
  const digit = Number(event.key) - 1;
  if (digit >= 0 && digit < page.classes.length) {
    state.classes[digit] = !state.classes[digit];
    redraw();
  } else if (Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key](event);
  }
});

function addClassRow(one, index) {
  const row = element("classes").tBodies[0].insertRow();
  const label = make("label");
  const box = make("input");
  box.type = "checkbox";
  box.addEventListener("change", () => {
    state.classes[index] = box.checked;
    redraw();
  });
  const swatch = make("span", `${index + 1}`, "swatch");
  swatch.style.setProperty("--of-class", one.colour);
  label.append(box, swatch, make("span", one.title));
  const slider = make("input");
  Object.assign(slider, { type: "range", min: page.faintest, max: 1, step: 0.01 });
  slider.setAttribute("aria-label", `pixel threshold of ${one.title}`);
  slider.addEventListener("input", () => setThreshold(index, Number(slider.value)));
  row.insertCell().append(label);
  row.insertCell().append(slider, make("output"));
  for (let column = 2; column < 5; column++) row.insertCell().hidden = column < 4 && !page.has_truth;
}

function choices(id, names, values = names) {
  names.forEach((name, index) => element(id).add(new Option(name, values[index])));
  element(id).addEventListener("change", applyFilters);
}

page.classes.forEach(addClassRow);
element("pointer").textContent = LEGEND;
for (const one of document.querySelectorAll(".of-truth")) one.hidden = !page.has_truth;
choices("kind", Object.keys(KINDS));
choices("class", ["any class", ...page.classes.map((one) => one.title)], ["", ...page.classes.keys()]);
choices("order", Object.keys(ORDERS));
for (const layer of Object.keys(state.layers)) element(layer).addEventListener("click", () => toggle(layer));
element("before").addEventListener("click", () => step(-1));
element("after").addEventListener("click", () => step(1));
element("in").addEventListener("click", () => zoom(1.5));
element("out").addEventListener("click", () => zoom(1 / 1.5));
element("fit").addEventListener("click", whole);
element("help").addEventListener("click", () => element("keys").showModal());
element("close").addEventListener("click", () => element("keys").close());
element("reset").addEventListener("click", reset);
element("rules").addEventListener("change", () => {
  state.rules = element("rules").checked;
  redraw();
});

const view = element("view");
let grip = null; // where a drag is
view.addEventListener("pointerdown", (event) => {
  grip = [event.clientX, event.clientY];
  view.setPointerCapture(event.pointerId);
});
view.addEventListener("pointermove", (event) => {
  point(event);
  if (!grip || !opened) return;
  pan(grip[0] - event.clientX, grip[1] - event.clientY);
  grip = [event.clientX, event.clientY];
});
view.addEventListener("pointerup", () => (grip = null));
view.addEventListener("pointercancel", () => (grip = null));
view.addEventListener("pointerleave", () => (element("pointer").textContent = LEGEND));
view.addEventListener("dblclick", whole);
view.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  },
  { passive: false },
);
/** The strip that the address names behind #. */
function named() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return page.strips.find((strip) => strip.name === name) ?? null;
  } catch {
    return null; // a % that stands for nothing
  }
}

window.addEventListener("hashchange", () => named() && named() !== state.strip && show(named()));
window.addEventListener("resize", () => (state.fitted ? whole() : draw()));
state.strip = named();
applyFilters();
if (state.strip && !opened) show(state.strip);
