// Learning curves of the runs, one small picture for each metric, and the tables of success.

const WIDTH = 320, HEIGHT = 170, LEFT = 44, RIGHT = 8, TOP = 10, BOTTOM = 24;
const FIRST = ["eval/success", "train/success", "train/return", "train/steps", "train/valid", "train/mixed_groups",
  "update/loss", "update/kl", "update/grad_norm", "credit/advantage_abs", "credit/step_entropy"];
const colour = (place) => `var(--line-${place % 6})`;

function drawCurves() {
  const runs = data.sources.map((source, place) => ({ source, place })).filter(({ source }) =>
    Object.keys(source.curves).length);
  if (!runs.length) {
    $("curves").replaceChildren(el("p", { class: "empty" },
      "None of the folders has a metrics.jsonl, which a training run writes."));
    return;
  }
  const names = [...new Set(runs.flatMap(({ source }) => Object.keys(source.curves)))];
  const first = FIRST.filter((name) => names.includes(name));
  const others = names.filter((name) => !FIRST.includes(name)).sort();
  const more = el("details", {}, el("summary", {}, `${others.length} more metrics`));
  more.addEventListener("toggle", () => {
    if (more.open && more.children.length === 1) more.append(charts(others, runs));
  });
  $("curves").replaceChildren(
    el("ul", { class: "key" }, runs.map(({ source, place }) =>
      el("li", {}, el("i", { style: { background: colour(place) } }), sourceName(source)))),
    charts(first, runs), ...(others.length ? [more] : []));
}

function charts(names, runs) {
  return el("div", { class: "charts" }, names.map((name) => chart(name, runs.filter(({ source }) => source.curves[name]))));
}

function ticks(low, high, least = 0) {
  const rough = (high - low) / 4 || 1, unit = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((one) => one * unit).find((one) => one >= Math.max(rough, least)) ?? least;
  const found = [];
  for (let k = Math.ceil(low / size); k * size <= high + 1e-9 * size; k += 1) found.push(k * size);
  return found;
}

function chart(name, runs) {
  const points = runs.flatMap(({ source }) => source.curves[name].filter((point) => point[1] !== null));
  const last = Math.max(1, ...points.map((point) => point[0]));
  let low = Math.min(...points.map((point) => point[2] ?? point[1]));
  let high = Math.max(...points.map((point) => point[3] ?? point[1]));
  if (low >= 0 && low < 0.5 * high) low = 0;
  if (high === low) [low, high] = [low - 0.5, high + 0.5];
  const x = (update) => LEFT + (WIDTH - LEFT - RIGHT) * update / last;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${name} by update` },
    ticks(low, high).map((value) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, plain(value)),
    ]).flat(),
    ticks(0, last, 1).map((update) => svg("text", { x: x(update), y: HEIGHT - 7, "text-anchor": "middle" }, plain(update))));
  for (const { source, place } of runs) {
    const line = source.curves[name].filter((point) => point[1] !== null);
    if (line.length && line[0].length === 4) {
      const there = line.map((point) => `${x(point[0])},${y(point[3])}`);
      const back = line.map((point) => `${x(point[0])},${y(point[2])}`).reverse();
      picture.append(svg("polygon", { points: [...there, ...back].join(" "), class: `band c${place % 6}` }));
    }
    picture.append(svg("polyline", { class: `curve c${place % 6}`, points: line.map((point) => `${x(point[0])},${y(point[1])}`).join(" ") }));
    if (line.length < 12) {
      for (const point of line) picture.append(svg("circle", { class: `c${place % 6}`, cx: x(point[0]), cy: y(point[1]), r: 2.6 }));
    }
  }
  const reading = el("output", {}, "");
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 });
  picture.append(cursor);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const update = ((event.clientX - box.left) * WIDTH / box.width - LEFT) / (WIDTH - LEFT - RIGHT) * last;
    const near = runs.map(({ source }) => source.curves[name].reduce((a, b) =>
      Math.abs(b[0] - update) < Math.abs(a[0] - update) ? b : a));
    cursor.setAttribute("x1", x(near[0][0]));
    cursor.setAttribute("x2", x(near[0][0]));
    reading.textContent = `update ${near[0][0]}: ${near.map((point) => plain(point[1])).join(", ")}`;
  });
  picture.addEventListener("pointerleave", () => { reading.textContent = ""; cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); });
  return el("figure", {}, el("figcaption", {}, el("b", {}, name), reading), picture);
}

function drawTables() {
  $("tables").replaceChildren(...data.sources.map((source) => el("section", {},
    el("h2", {}, sourceName(source)),
    source.shown < source.episodes ? el("p", { class: "quiet" },
      `${source.shown} of ${source.episodes} recorded episodes are on this page; the table is of all.`) : null,
    el("div", { class: "table-grid" }, Object.entries(source.tables).map(([title, rows]) => table(title, rows))),
    source.settings ? el("details", {}, el("summary", {}, "settings"), longText(source.settings, "settings")) : null)));
}

function table(title, rows) {
  const errors = rows.some((row) => row[5]);
  return el("table", {}, el("caption", {}, title),
    el("thead", {}, el("tr", {}, ["task type", "success", "95 % interval", "n", ...(errors ? ["errors"] : [])].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map(([name, success, low, high, n, failed]) => el("tr", {},
      el("th", { scope: "row" }, nice(name)), el("td", {}, n ? percent(success) : "–"),
      el("td", {}, n ? interval(success, low, high) : "–"), el("td", {}, n), errors ? el("td", {}, failed) : null))));
}

function interval(success, low, high) {
  return svg("svg", { class: "interval", viewBox: "0 0 100 12", role: "img",
    "aria-label": `${percent(low)} to ${percent(high)}` },
  svg("title", {}, `${percent(low)} to ${percent(high)}`),
  svg("rect", { class: "rail", x: 0, y: 5, width: 100, height: 2, rx: 1 }),
  svg("rect", { class: "span", x: 100 * low, y: 3, width: Math.max(1, 100 * (high - low)), height: 6, rx: 3 }),
  svg("circle", { cx: 100 * success, cy: 6, r: 2.6 }));
}
