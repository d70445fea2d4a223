"use strict";
// Which columns are shown, which rows compared, what is downloaded; all of it stands in the address.

function shownColumns(board) {
  const all = board.columns.map((column, index) => ({ column, index }));
  const first = lead(board);
  const shown = all.filter(({ column }) => column.key === prior(board) || (state.columns ? state.columns.includes(column.key) : byId("all").checked || column.main));
  const order = ({ column }) => (column.key === "rank" ? 0 : column.key === first ? 1 : 2);
  return prior(board) ? shown.sort((a, b) => order(a) - order(b)) : shown;
}

function choices(board) {
  const shown = new Set(shownColumns(board).map(({ column }) => column.key));
  const boxes = board.columns.map((column) => {
    const box = make("input", { type: "checkbox", value: column.key });
    box.checked = shown.has(column.key);
    box.addEventListener("change", () => {
      state.columns = [...byId("choice").querySelectorAll("input:checked")].map((one) => one.value);
      table();
    });
    return make("label", { title: column.about || null }, box, " " + column.title);
  });
  byId("choice").querySelector("div").replaceChildren(...boxes);
}

// The newest three rows that were ticked.
function pick(row) {
  const box = make("input", { type: "checkbox", class: "pick", "aria-label": "compare " + row.label, title: "compare" });
  box.checked = state.compared.includes(row.label);
  box.addEventListener("click", (event) => event.stopPropagation());
  box.addEventListener("change", () => {
    const others = state.compared.filter((label) => label !== row.label);
    state.compared = box.checked ? [...others, row.label].slice(-3) : others;
    table();
    [...byId("measured").querySelectorAll("input.pick")].find((one) => one.getAttribute("aria-label") === "compare " + row.label)?.focus();
  });
  return box;
}

function compare(board, shown) {
  const rows = board.rows.map((row, place) => ({ row, place })).filter(({ row }) => state.compared.includes(row.label));
  if (rows.length < 2) return byId("compare").replaceChildren();
  const lines = shown.map(({ column, index }) => [column.title, ...rows.map(({ row }) => cellText(row, index, board))]);
  const said = [];
  rows.forEach((first, i) => rows.slice(i + 1).forEach((second) => said.push(make("li", {}, difference(board, first, second)))));
  byId("compare").replaceChildren(make("h2", {}, "Compared"), make("ul", { class: "soft" }, ...said), grid("Rows compared", ["Figure", ...rows.map(({ row }) => row.label)], lines));
}

function difference(board, first, second) {
  const names = first.row.label + " minus " + second.row.label + ": ";
  if (prior(board)) return names + (100 * (score(first.row, board).mean - score(second.row, board).mean)).toFixed(2) + " points at this test prior, without a test.";
  if (!board.pairs) return names + "no paired test here; lt-bench leaderboard --rows shows both.";
  const [mean, half, apart] = board.pairs[first.place][second.place - first.place - 1];
  const text = (value) => (board.factor * value).toFixed(board.factor > 1 ? 2 : 4);
  const unit = board.factor > 1 ? " points" : "";
  const ends = half === null ? "no interval: one seed" : "95 %, paired over " + board.over + ", with the variance over seeds: " + text(mean - half) + " to " + text(mean + half);
  return names + text(mean) + unit + " (" + ends + "); " + (apart ? "told apart" : "not told apart") + " by the tests of the whole board.";
}

function download() {
  const board = data.boards[state.board];
  const shown = shownColumns(board);
  const quoted = (text) => '"' + (/^[=@]|^[+-](?![\d.])/.test(text) ? "'" : "") + text.replaceAll('"', '""') + '"';
  const lines = [["Strategy", ...shown.map(({ column }) => column.title)], ...sorted(board).map((row) => [row.label, ...shown.map(({ index }) => cellText(row, index, board))])];
  const file = new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(file), download: board.slug + ".csv" });
  link.click();
  URL.revokeObjectURL(link.getAttribute("href"));
}

function remember() {
  const board = data.boards[state.board];
  const said = new URLSearchParams();
  if (state.sort !== null) said.set("sort", (state.descending ? "-" : "") + (state.sort < 0 ? "label" : board.columns[state.sort].key));
  if (byId("filter").value) said.set("filter", byId("filter").value);
  if (state.columns) said.set("columns", state.columns.join(","));
  else if (byId("all").checked) said.set("columns", "all");
  if (prior(board)) said.set("prior", state.prior);
  if (byId("classes").open) said.set("classes", state.classSort ? (state.classSort.descending ? "-" : "") + state.classSort.key : "");
  if (byId("class").value) said.set("class", byId("class").value);
  state.compared.forEach((label) => said.append("compare", label));
  history.replaceState(null, "", "#" + board.slug + (String(said) ? "?" + said : ""));
}

function recall() {
  const [slug, ...query] = location.hash.slice(1).split("?");
  const said = new URLSearchParams(query.join("?"));
  const index = Math.max(0, data.boards.findIndex((board) => board.slug === slug));
  const keys = data.boards[index].columns.map((column) => column.key);
  const [, minus, key] = /^(-?)(.*)$/.exec(said.get("sort") || "");
  byId("filter").value = said.get("filter") || "";
  byId("all").checked = said.get("columns") === "all";
  const columns = (said.get("columns") || "").split(",").filter((one) => keys.includes(one));
  state.columns = columns.length ? columns : null;
  state.prior = said.get("prior");
  const [, up, sort] = /^(-?)(.*)$/.exec(said.get("classes") || "");
  state.classSort = sort ? { key: sort, descending: up === "-" } : null;
  byId("classes").open = said.has("classes");
  byId("class").value = said.get("class") || "";
  state.recalled = { sort: key === "label" ? -1 : keys.includes(key) ? keys.indexOf(key) : null, descending: minus === "-", compared: said.getAll("compare").slice(-3) };
  choose(index);
}
