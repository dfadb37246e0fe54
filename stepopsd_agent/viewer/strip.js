// The whole episode at a glance: a track of cells for each method and for the truth, and the distance below.

// The tracks of an episode: [label, kind, values, digits].
function tracks(episode) {
  const found = data.methods.map((name, k) => [name, "method", episode.credit[k]]);
  if (episode.truth) found.push(["truth: progress", "truth", episode.truth]);
  return found.filter(([, , values]) => values);
}

function overview(episode) {
  const count = episode.steps.length - 1;
  const lines = tracks(episode);
  const distances = episode.steps.map((step) => step[DISTANCE]);
  const told = !distances.includes(UNKNOWN);
  if (!count || (!lines.length && !told)) return null;
  const grid = el("section", { class: "overview", style: { "--count": count }, "aria-label": "credit of all steps" });
  for (const [label, kind, values] of lines) {
    const scale = largest(values);
    const right = kind === "method" && episode.truth ? rankedRight(values, episode.truth) : null;
    grid.append(
      el("div", { class: `track-name ${kind}` }, label),
      el("div", { class: "track" }, values.map((value, k) => tinted(el("button", {
        type: "button", "data-step": k + 1, title: `step ${k + 1}: ${number(value, 3)}`, tabindex: "-1",
        "aria-label": `${label}, step ${k + 1}: ${number(value, 3)}`, onclick: () => goToStep(k + 1),
      }), value, scale))),
      el("div", { class: "track-note", title: right === null ? `largest: ${plain(scale)}`
        : "share of pairs of a step towards the goal and another step that this credit ranks right" },
      right === null ? (kind === "method" ? `± ${plain(scale)}` : "") : `${Math.round(100 * right)} % right`),
    );
  }
  if (told) {
    grid.append(el("div", { class: "track-name" }, "distance"), distanceLine(distances),
      el("div", { class: "track-note" }, `${distances[0] < 0 ? "∞" : distances[0]} → ${
        distances.at(-1) < 0 ? "∞" : distances.at(-1)}`));
  }
  if (lines.length) {
    grid.append(el("div", { class: "legend" }, el("span", {}, "blame"), el("i", { class: "ramp" }),
      el("span", {}, "credit"), el("span", { class: "quiet" }, "each row on its own scale")));
  }
  return grid;
}

// Optimal distance before the first step and after each.
function distanceLine(distances) {
  const top = Math.max(1, ...distances) + 1, count = distances.length - 1;
  const y = (distance) => distance === UNREACHABLE ? 1 : 3 + 34 * (1 - distance / top);
  let path = "";
  distances.forEach((distance, k) => {
    path += k ? `H${k - 0.5}V${y(distance)}` : `M0,${y(distance)}`;
  });
  path += `H${count}`;
  return svg("svg", { class: "distance", viewBox: `0 0 ${count} 40`, preserveAspectRatio: "none", role: "img",
    "aria-label": "optimal distance to the goal after each step" },
  svg("path", { class: "area", d: `${path}V40H0Z` }), svg("path", { class: "line", d: path }));
}
