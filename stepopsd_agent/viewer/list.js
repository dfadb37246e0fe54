// The list of episodes: filters, order, and only those rows that can be seen.

const ROW = 58;
const OUTCOMES = [["all", "All"], ["won", "Won"], ["lost", "Lost"], ["error", "Errors"], ["left", "Left"]];
const harmful = (episode) => (episode.truth ?? []).filter((value) => value < 0).length;
const ORDERS = [
  ["as recorded", (a, b) => a.place - b.place],
  ["fewest steps", (a, b) => a.steps.length - b.steps.length],
  ["most steps", (a, b) => b.steps.length - a.steps.length],
  ["highest return", (a, b) => b.return - a.return],
  ["lowest return", (a, b) => a.return - b.return],
  ["most steps away from the goal", (a, b) => harmful(b) - harmful(a)],
  ["by task", (a, b) => a.task < b.task ? -1 : a.task > b.task ? 1 : 0],
];
data.episodes.forEach((episode, place) => { episode.place = place; });
const manyUpdates = new Set(data.episodes.map((one) => one.update)).size > 1;
const state = { outcome: "all", visible: data.episodes, chosen: null };

// What a search looks through, made when it is first needed.
function haystack(episode) {
  episode.haystack ??= [episode.goal, episode.task, episode.type, episode.run,
    ...episode.steps.flatMap((step) => [step[RESPONSE], step[ACTION] ?? "", step[OBSERVATION], step[ERROR] ?? ""]),
  ].join("\n").toLowerCase();
  return episode.haystack;
}

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  select.hidden = pairs.length < 3 && select.id !== "sort";
}

function sourceName(source) {
  return source.method ? `${source.label} · ${source.method}` : source.label;
}

function setUpList() {
  const types = [...new Set(data.episodes.map((episode) => episode.type))].sort();
  options($("by-source"), [["", "all folders"], ...data.sources.map((one, place) => [place, sourceName(one)])]);
  options($("by-type"), [["", "all task types"], ...types.map((type) => [type, nice(type)])]);
  options($("sort"), ORDERS.map(([name], place) => [place, name]));
  const counts = Map.groupBy ? Map.groupBy(data.episodes, (one) => one.outcome) : null;
  $("by-outcome").replaceChildren(...OUTCOMES
    .filter(([name]) => name === "all" || data.episodes.some((one) => one.outcome === name))
    .map(([name, text]) => el("button", {
      type: "button", "data-outcome": name, "aria-pressed": String(name === state.outcome),
      onclick: () => { state.outcome = name; update(); },
    }, text, counts && name !== "all" ? el("small", {}, ` ${counts.get(name).length}`) : null)));
  let waiting = 0;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(update, 80); });
  for (const id of ["by-source", "by-type", "sort"]) $(id).addEventListener("change", update);
  $("list").addEventListener("scroll", drawRows, { passive: true });
  window.addEventListener("resize", drawRows);
  update();
}

function update() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const source = $("by-source").value, type = $("by-type").value;
  state.visible = data.episodes.filter((episode) =>
    (state.outcome === "all" || episode.outcome === state.outcome)
    && (source === "" || episode.source === Number(source))
    && (type === "" || episode.type === type)
    && words.every((word) => haystack(episode).includes(word)));
  state.visible.sort(ORDERS[Number($("sort").value)][1]);
  for (const button of $("by-outcome").children) {
    button.setAttribute("aria-pressed", String(button.dataset.outcome === state.outcome));
  }
  const won = state.visible.filter((one) => one.outcome === "won").length;
  const all = state.visible.length;
  $("count").textContent = all
    ? `${all.toLocaleString("en")} episode${all === 1 ? "" : "s"}, ${percent(won / all)} won` : "no episode is like that";
  $("list").scrollTop = 0;
  drawRows();
}

function drawRows() {
  const box = $("list"), rows = $("rows");
  rows.style.height = `${state.visible.length * ROW}px`;
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 5);
  const last = Math.min(state.visible.length, first + Math.ceil((box.clientHeight || 800) / ROW) + 10);
  rows.replaceChildren(...state.visible.slice(first, last).map((one, k) => row(one, (first + k) * ROW)));
}

function row(episode, top) {
  const about = [nice(episode.type), `${episode.steps.length - 1} steps`];
  if (manyUpdates) about.push(`update ${episode.update}`);
  if (data.sources.length > 1) about.push(data.sources[episode.source].label);
  return el("div", {
    class: "row", role: "option", style: { top: `${top}px` },
    "aria-selected": String(episode.place === state.chosen), "data-place": episode.place,
    onclick: () => choose(episode.place),
  }, el("span", { class: `dot ${episode.outcome}`, title: episode.outcome }),
  el("span", { class: "goal", dir: "auto" }, (episode.goal || episode.task).slice(0, 200)),
  el("span", { class: "about" }, about.join(" · ").slice(0, 200)), strip(episode));
}

// Progress, or else the first credit, as a line of small cells.
function strip(episode) {
  const values = episode.truth ?? episode.credit.find(Boolean);
  if (!values) return null;
  const scale = largest(values);
  return el("span", { class: "mini" }, values.slice(0, 60).map((value) => tinted(el("i"), value, scale)));
}

// The neighbour of the chosen episode in the list as it is filtered now.
function step(by) {
  if (!state.visible.length) return;
  const now = state.visible.findIndex((one) => one.place === state.chosen);
  const next = now < 0 ? 0 : Math.min(state.visible.length - 1, Math.max(0, now + by));
  choose(state.visible[next].place);
  const box = $("list"), top = next * ROW;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
}

function choose(place) {
  go(`e${place}`);
}
