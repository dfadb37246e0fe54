// Views, keys, and what the address says: #e12 is an episode, #curves and #tables are the other views.

const KEYS = [
  ["j  or  ↓", "next episode"], ["k  or  ↑", "previous episode"], ["→", "next step"], ["←", "previous step"],
  ["g", "next attempt of the same group"], ["/", "search"], ["1  2  3", "episodes, curves, tables"],
  ["t", "light or dark"], ["Esc", "leave the search, or back to the list"], ["?", "these keys"],
];
const wide = window.matchMedia("(min-width: 820px)");

function show(tab) {
  document.body.dataset.tab = tab;
  for (const button of $("tabs").children) button.setAttribute("aria-current", String(button.dataset.tab === tab));
  if (tab === "curves" && !$("curves").firstChild) drawCurves();
  if (tab === "tables" && !$("tables").firstChild) drawTables();
  if (tab === "episodes") drawRows();
}

let routed = null;

// Shown at once: the event of a new address comes later than the next key of a quick hand.
function go(name) {
  location.hash = name;
  route();
}

function route() {
  if (location.hash === routed) return;
  routed = location.hash;
  const place = /^#e(\d+)$/.exec(location.hash);
  if (place && data.episodes[Number(place[1])]) {
    show("episodes");
    showEpisode(data.episodes[Number(place[1])]);
  } else if (location.hash === "#curves" || location.hash === "#tables") {
    show(location.hash.slice(1));
  } else {
    show(data.episodes.length ? "episodes" : "curves");
    document.body.classList.remove("open");
    if (wide.matches && data.episodes.length) showEpisode(state.visible[0] ?? data.episodes[0]);
  }
}

function toggleTheme() {
  const now = document.documentElement.dataset.theme
    ?? (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

function nextOfGroup() {
  const group = [...$("episode").querySelectorAll(".siblings button")];
  const now = group.findIndex((one) => one.hasAttribute("aria-current"));
  if (group.length) group[(now + 1) % group.length].click();
}

const ACTIONS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  ArrowRight: () => moveStep(1), ArrowLeft: () => moveStep(-1), g: nextOfGroup, t: toggleTheme,
  "/": () => { go(location.hash.startsWith("#e") && wide.matches ? location.hash : "list"); $("search").focus(); },
  "?": () => $("help").showModal(),
  1: () => go(current ? `e${current.place}` : "list"), 2: () => go("curves"), 3: () => go("tables"),
  Escape: () => { if (!wide.matches) go("list"); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    if (event.target.id === "search" && event.key === "Enter") { event.target.blur(); step(0); }
    return;
  }
  const action = ACTIONS[event.key];
  if (!action || (document.body.dataset.tab !== "episodes" && /^(j|k|g|Arrow.*)$/.test(event.key))) return;
  event.preventDefault();
  action();
});

$("keys").append(...KEYS.map(([key, text]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, text))));
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("theme").addEventListener("click", toggleTheme);
for (const button of $("tabs").children) {
  button.addEventListener("click", () => {
    go(button.dataset.tab === "episodes" ? (current && wide.matches ? `e${current.place}` : "list") : button.dataset.tab);
  });
}
window.addEventListener("hashchange", route);
setUpList();
route();
