const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const state = { board: 0, sort: null, descending: true, open: new Set(), columns: null, compared: [], prior: null, classSort: null, allClasses: false };
const MISSING = "–";

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function titled(text) {
  const title = drawn("title", {});
  title.textContent = text;
  return title;
}

// The objective on the board's common scale, beyond whose ends a triangle points: pale bar over test images or their groups, dark line over seeds, dot at the mean, dashed line at the untouched stage-1 head.
function interval(row, board) {
  const [low, high] = scale(board);
  const { mean, seeds, images } = score(row, board);
  const untouched = baseline(board);
  const at = (value) => (5 + 150 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)))).toFixed(1);
  const svg = drawn("svg", { class: "interval", viewBox: "0 0 160 20", role: "img" });
  const text = (value) => (board.factor * value).toFixed(board.factor > 1 ? 3 : 5);
  const ends = (name, pair) => (pair ? "; 95 % over " + name + " " + text(pair[0]) + " to " + text(pair[1]) : "");
  svg.append(titled("mean " + text(mean) + ends(board.over + " (pale)", images) + ends("seeds (dark)", seeds) + (untouched === null ? "" : "; dashed: the untouched stage-1 head, " + text(untouched))));
  if (untouched !== null) svg.append(drawn("line", { class: "baseline", x1: at(untouched), x2: at(untouched), y1: 0, y2: 20 }));
  if (images) svg.append(drawn("line", { class: "images", x1: at(images[0]), x2: at(images[1]), y1: 10, y2: 10 }));
  if (seeds) svg.append(drawn("line", { class: "seeds", x1: at(seeds[0]), x2: at(seeds[1]), y1: 10, y2: 10 }));
  if (mean < low) svg.append(drawn("path", { class: "beyond", d: "M9 4 L1 10 L9 16 Z" }));
  else if (mean > high) svg.append(drawn("path", { class: "beyond", d: "M151 4 L159 10 L151 16 Z" }));
  else svg.append(drawn("circle", { cx: at(mean), cy: 10, r: 4.5 }));
  return svg;
}

// Possible places among all rows of the board.
function rank(row, board) {
  const { first, last } = row.standing;
  const ranked = board.rows.filter((one) => one.standing).length;
  const step = 44 / ranked;
  const svg = drawn("svg", { class: "places", viewBox: "0 0 44 8", role: "img" }, titled(`places ${first} to ${last} of ${ranked} are possible`));
  svg.append(drawn("rect", { class: "track", x: 0, y: 2, width: 44, height: 4, rx: 2 }));
  svg.append(drawn("rect", { class: "span", x: (step * (first - 1)).toFixed(1), y: 1, width: Math.max(step * (last - first + 1), 3).toFixed(1), height: 6, rx: 2 }));
  return make("span", { class: "rank" }, make("span", {}, first === last ? String(first) : first + "–" + last), svg);
}

// A long strategy name may break after an underscore.
function breakable(text) {
  return text.split("_").flatMap((part, index) => (index ? ["_", make("wbr"), part] : [part]));
}

// The interval of a figure, to stand behind it: " ± 0.40", " (89.35–99.95)" or nothing.
function spreadOf(cell) {
  return cell.i ? " " + cell.i : "";
}

// The exact figure of a cell, for the pointer.
function exact(cell, column) {
  if (cell.s || cell.v === undefined) return cell.s || null;
  return column.title + ": " + (column.style === "percent" ? (100 * cell.v).toFixed(4) : String(cell.v)) + spreadOf(cell);
}

function cellNode(row, index, column, board) {
  const cell = row.cells[index];
  const spread = spreadOf(cell);
  const kind = cell.p === 1 ? "best" : cell.p === 2 ? "second" : "";
  const ends = cell.v === undefined ? null : board.bars[column.key];
  const classes = [column.style === "text" ? "text" : "", column.phone || column.key === lead(board) ? "" : "secondary", ends ? "bar" : column.key === lead(board) ? "" : "minor"].join(" ").trim();
  const share = ends ? Math.min(1, Math.max(0.03, (cell.v - ends[0]) / (ends[1] - ends[0] || 1))) : 0;
  const node = make("td", { class: classes || null, title: exact(cell, column), style: ends ? "--share:" + share.toFixed(3) : null });
  if (column.key === "rank" && row.standing && !prior(board)) return node.append(rank(row, board)), node;
  node.append(make("span", { class: kind || null }, cellText(row, index, board)));
  if (spread) node.append(make("span", { class: "pm" }, spread));
  return node;
}

function detail(row, board, width) {
  const inside = make("div", { class: "inside" });
  const command = board.columns.findIndex((column) => column.key === "command");
  if (command >= 0) inside.append(make("h3", {}, "Reproduce"), commandLine(row.cells[command].t));
  const measured = make("dl", { class: "facts" });
  board.columns.forEach((column, index) => {
    const text = row.cells[index].t + spreadOf(row.cells[index]);
    if (index !== command && text !== MISSING) measured.append(fact(column.title, text, text.length > 80, column.about));
  });
  const facts = make("dl", { class: "facts" });
  for (const [name, value] of Object.entries(row.facts)) facts.append(fact(name, value, value.length > 44));
  if (row.links.length) inside.append(make("p", { class: "links" }, ...row.links.map(([title, address]) => make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, title))));
  inside.append(make("h3", {}, "Measured"), measured, make("h3", {}, "Strategy and provenance"), facts);
  return make("tr", { class: "detail" }, make("td", { colspan: width }, inside));
}

function fact(name, value, wide, about) {
  return make("div", { class: wide ? "wide" : null }, make("dt", { title: about || null }, name), make("dd", {}, value));
}

function commandLine(text) {
  const copy = make("button", { type: "button" }, "copy");
  copy.addEventListener("click", () => {
    const done = () => (copy.textContent = "copied");
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => getSelection().selectAllChildren(line));
    else getSelection().selectAllChildren(line);
  });
  const line = make("code", {}, text);
  return make("p", { class: "command" }, line, copy);
}

function sorted(board) {
  const needle = byId("filter").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = ranked(board).filter((row) => needle.every((word) => row.search.includes(word)));
  if (state.sort === null) return rows;
  const sign = state.descending ? -1 : 1;
  const key = (row) => (state.sort === -1 ? row.label : row.cells[state.sort].v ?? (board.columns[state.sort].style === "text" ? row.cells[state.sort].t : null));
  return rows.slice().sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what is missing stays last
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  });
}

// A heading that sorts; `descending` is null where another one does.
function sortable(title, about, classes, descending, sort) {
  const order = descending === null ? null : descending ? "descending" : "ascending";
  return make("th", { class: classes || null, scope: "col", title: about || null, "aria-sort": order }, make("button", { type: "button", onclick: sort }, title));
}

function header(board, index, title, about, classes) {
  const active = state.sort === index;
  const position = header.count++;
  return sortable(title, about, classes, active ? state.descending : null, () => {
    const lower = index === -1 || board.columns[index].style === "text" || board.columns[index].better === "lower";
    state.descending = active ? !state.descending : !lower;
    state.sort = index;
    table();
    byId("measured").querySelectorAll("th button")[position].focus();
  });
}

function table() {
  const board = data.boards[state.board];
  const everything = byId("all").checked;
  const shown = shownColumns(board);
  header.count = 0;
  const head = make("tr", {}, header(board, -1, "Strategy", "", ""));
  for (const { column, index } of shown) {
    const classes = [column.style === "text" ? "text" : "", column.phone || column.key === lead(board) ? "" : "secondary"].join(" ").trim();
    head.append(header(board, index, column.title, column.about, classes));
    if (column.key === lead(board)) {
      const ends = scale(board).map((end) => make("span", {}, (board.factor * end).toFixed(board.factor > 1 ? 1 : 3)));
      head.append(make("th", { class: "text", scope: "col", title: "95 % intervals on one scale: pale over " + board.over + ", dark over seeds" }, make("span", { class: "ends" }, ends[0], make("span", {}, "95 %"), ends[1])));
    }
  }
  const rows = sorted(board);
  const body = make("tbody", {});
  for (const row of rows) {
    const toggle = () => {
      const typed = document.activeElement === name;
      state.open.has(row.label) ? state.open.delete(row.label) : state.open.add(row.label);
      table();
      if (typed) byId("measured").querySelectorAll("button.name")[rows.indexOf(row)].focus();
    };
    const open = state.open.has(row.label);
    const line = make("tr", { class: row.standing && row.standing.first === 1 ? "row top" : "row", onclick: () => getSelection().isCollapsed && toggle() });
    const name = make("button", { class: "name", type: "button", "aria-expanded": String(open) }, ...breakable(row.name));
    line.append(make("td", {}, pick(row), name, row.tag ? make("span", { class: "pill" }, row.tag) : null, row.rest ? make("span", { class: "pm" }, " " + row.rest) : null));
    for (const { column, index } of shown) {
      line.append(cellNode(row, index, column, board));
      if (column.key === lead(board)) line.append(make("td", { class: "text" }, interval(row, board)));
    }
    body.append(line);
    if (open) body.append(detail(row, board, head.children.length));
  }
  const before = byId("measured").scrollLeft;
  byId("measured").replaceChildren(make("table", { class: everything || state.columns ? "everything" : null }, make("thead", {}, head), body));
  byId("measured").scrollLeft = before;
  compare(board, shown);
  classes();
  remember();
  byId("count").textContent = rows.length + " of " + board.rows.length + " rows. Click a row for its details, a heading to sort." + (prior(board) ? " Ranked at the test prior " + board.priors[state.prior].title + " from class accuracies, by means: intervals over seeds, no tests." : "") + (board.rows[0].standing ? " A blue edge: may be the best. Tick two or three rows to compare them." : "") + (everything ? "" : " All columns show every interval.");
}

// Columns of numbers stand at the right, long texts wrap; a cell is a text, a node, or a text with a smaller one.
function grid(name, columns, rows) {
  const text = (cell) => (Array.isArray(cell) ? text(cell[0]) : cell instanceof Node ? cell.textContent : cell);
  const numeric = columns.map((_, index) => index > 0 && rows.every((cells) => /^[+\d.,–†±()\s-]*( to [\d.]+)?$/.test(text(cells[index]))));
  const long = columns.map((_, index) => index > 0 && rows.some((cells) => text(cells[index]).length > 60));
  const kind = (index) => (numeric[index] ? null : long[index] ? "text wrap" : "text");
  const head = make("tr", {}, ...columns.map((title, index) => make("th", { class: kind(index), scope: "col" }, title)));
  const content = (cell) => (Array.isArray(cell) ? [cell[0], make("span", { class: "under" }, cell[1])] : [cell]);
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, index) => make("td", { class: kind(index) }, ...content(cell)))));
  return make("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": name }, make("table", { class: "everything" }, make("thead", {}, head), make("tbody", {}, ...body)));
}

function plain(title, note, columns, rows) {
  return [make("h2", {}, title), make("p", { class: "soft" }, note), ...(rows.length ? [grid(title, columns, rows)] : [])];
}

// Several panels side by side need the whole width.
function figure(plot) {
  const image = make("img", { src: plot.src, alt: "" });
  const enlarge = () => {
    const large = byId("large");
    large.querySelector("img").setAttribute("src", plot.src);
    large.querySelector("img").alt = plot.caption;
    large.querySelector("p").textContent = plot.caption;
    large.showModal();
  };
  const node = make("figure", {}, make("button", { type: "button", class: "enlarge", "aria-label": "Enlarge: " + plot.caption, onclick: enlarge }, image), make("figcaption", {}, plot.caption));
  image.addEventListener("load", () => node.classList.toggle("wide", image.naturalWidth > 1.75 * image.naturalHeight));
  return node;
}

function card(label, value, more) {
  return make("div", { class: "card" }, make("div", { class: "label" }, label), make("div", { class: "value" }, value), make("div", { class: "more" }, more));
}

function show() {
  const board = data.boards[state.board];
  byId("identity").replaceChildren(...board.chips.map(([name, value]) => make("span", { class: "chip" }, name + " ", make("b", {}, value))));
  byId("stage1").textContent = board.stage1 ? "Stage 1: " + board.stage1 : "";
  byId("summary").replaceChildren(...board.summary.map((parts) => card(...parts)));
  byId("notes").replaceChildren(...board.notes.map((note) => make("li", {}, note)));
  byId("legend").querySelector("dl").replaceChildren(...board.columns.filter((column) => column.about).map((column) => make("div", {}, make("dt", {}, column.title), make("dd", {}, column.about))));
  byId("plots").replaceChildren(
    ...(board.plots.length ? [make("h2", {}, "Plots")] : []),
    make("div", { class: "figures" }, ...board.plots.map((plot) => figure(plot))),
  );
  byId("beside").replaceChildren(...(board.beside[1].length ? plain("Measured beside published", data.besideNote, ...board.beside) : []));
  const all = board.published.length ? make("details", { class: "fold" }, make("summary", {}, "All " + board.published.length + " published results on this dataset"), grid("Published results", ["Strategy", "Backbone", "Top-1", "Many", "Medium", "Few", "Source"], board.published)) : null;
  byId("published").replaceChildren(...(all ? [make("h2", {}, "Published"), make("p", { class: "soft" }, "Printed in papers and repositories, not measured here; settings differ. † read on an index page."), all] : []));
  table();
}

function choose(index) {
  state.board = index;
  state.open.clear();
  Object.assign(state, { sort: null, descending: true, compared: [] }, state.recalled, { recalled: null });
  const board = data.boards[index];
  byId("dataset").value = board.dataset;
  const same = data.boards.map((other, position) => ({ other, position })).filter(({ other }) => other.dataset === board.dataset);
  byId("protocol").replaceChildren(...same.map(({ other, position }) => make("option", { value: position }, other.setting)));
  byId("protocol").value = String(index);
  state.allClasses = false;
  choices(board);
  showPriors(board);
  show();
  markBoard();
}

// Arrows move between the names of rows, headings and boards as the eye does; Escape closes the choice of columns.
function arrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const kind = event.key.endsWith("Down") || event.key.endsWith("Up") ? "td button.name, td button.board" : "th button";
  if (step && event.target.matches(kind)) {
    const all = [...event.target.closest("table").querySelectorAll(kind)];
    all[Math.min(all.length - 1, Math.max(0, all.indexOf(event.target) + step))].focus();
    event.preventDefault();
  } else if (event.key === "Escape" && byId("choice").contains(event.target)) {
    byId("choice").open = false;
    byId("choice").querySelector("summary").focus();
  }
}

const datasets = [...new Set(data.boards.map((board) => board.dataset))];
byId("dataset").append(...datasets.map((name) => make("option", { value: name }, name)));
byId("dataset").addEventListener("change", (event) => choose(data.boards.findIndex((board) => board.dataset === event.target.value)));
byId("protocol").addEventListener("change", (event) => choose(Number(event.target.value)));
byId("filter").addEventListener("input", table);
byId("prior").addEventListener("change", (event) => {
  Object.assign(state, { prior: event.target.value || null, sort: null });
  choices(data.boards[state.board]);
  table();
});
byId("class").addEventListener("input", classes);
byId("classes").addEventListener("toggle", () => (classes(), remember()));
document.addEventListener("keydown", arrows);
byId("all").addEventListener("change", () => {
  state.columns = null;
  choices(data.boards[state.board]);
  table();
});
byId("large").addEventListener("click", (event) => event.target.tagName !== "IMG" && byId("large").close());
const root = document.documentElement;
root.dataset.theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
byId("theme").addEventListener("click", () => (root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"));
byId("download").addEventListener("click", download);
window.addEventListener("hashchange", recall);
boardIndex();
recall();
setTimeout(() => (acrossBoards(), markBoard()), 50); // below the rows, which are there before it
