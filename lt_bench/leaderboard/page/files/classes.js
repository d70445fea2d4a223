// Class by class: the rows that are compared, else the first row and the untouched head. Made when it is opened.
const MOST_CLASSES = 200;
const NO_IMAGES = 65535;

function decoded(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Array.from(new Uint16Array(bytes.buffer), (part) => (part === NO_IMAGES ? null : part / 10000));
}

function classRows(board) {
  const having = board.rows.filter((row) => row.classes);
  const compared = having.filter((row) => state.compared.includes(row.label));
  return compared.length ? compared : [...new Set([having[0], having.find((row) => row.label === "joint") || having[having.length - 1]])];
}

function classColumns(board, rows) {
  const { names, groups, train, test } = board.classes;
  const accuracies = rows.map((row) => decoded(row.classes));
  const fixed = [
    { key: "class", title: "Class", values: names, text: true },
    { key: "group", title: "Group", values: groups, text: true, minor: true },
    { key: "train", title: "Training images", values: train },
    { key: "test", title: "Test images", values: test, minor: true },
  ];
  const measured = rows.map((row, at) => ({ key: "row" + at, title: row.label, values: accuracies[at], percent: true }));
  const minus = (one, other) => (one === null || other === null ? null : one - other);
  const apart = rows.length === 2 ? [{ key: "difference", title: "Difference", values: accuracies[0].map((one, at) => minus(one, accuracies[1][at])), percent: true, signed: true }] : [];
  return [...fixed, ...measured, ...apart];
}

function classCell(column, at, test) {
  const value = column.values[at];
  if (!column.percent) return make("td", { class: (column.text ? "text " : "") + (column.minor ? "secondary" : "") || null }, column.text ? value : value.toLocaleString("en"));
  if (value === null) return make("td", {}, MISSING);
  const points = (100 * value).toFixed(1);
  const said = column.title + ": " + (100 * value).toFixed(2) + (column.signed ? " points" : " % of " + test[at] + " test images, mean over seeds");
  return make("td", { class: column.signed ? null : "bar", style: column.signed ? null : "--share:" + value, title: said }, (column.signed && value > 0 ? "+" : "") + points);
}

function classes() {
  const board = data.boards[state.board];
  byId("classes").hidden = !board.classes;
  if (!board.classes || !byId("classes").open) return;
  const columns = classColumns(board, classRows(board));
  const { key, descending } = state.classSort || { key: "train", descending: true };
  const by = (columns.find((column) => column.key === key) || columns[2]).values;
  const needle = byId("class").value.trim().toLowerCase();
  const order = board.classes.names.map((_, at) => at).filter((at) => (columns[0].values[at] + " " + columns[1].values[at]).toLowerCase().includes(needle));
  order.sort((a, b) => (by[a] === null || by[b] === null ? (by[a] === null) - (by[b] === null) : (descending ? -1 : 1) * (typeof by[a] === "number" ? by[a] - by[b] : by[a].localeCompare(by[b], "en", { numeric: true }))));
  const head = columns.map((column, at) => sortable(column.title, "", [column.text ? "text" : "", column.minor ? "secondary" : ""].join(" ").trim(), column.key === key ? descending : null, () => {
    state.classSort = { key: column.key, descending: column.key === key ? !descending : !column.text };
    classes();
    byId("byclass").querySelectorAll("th button")[at].focus();
  }));
  const shown = state.allClasses ? order : order.slice(0, MOST_CLASSES);
  const body = shown.map((at) => make("tr", {}, ...columns.map((column) => classCell(column, at, board.classes.test))));
  byId("byclass").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
  const more = make("button", { type: "button", class: "plain", onclick: () => { state.allClasses = true; classes(); byId("byclass").focus(); } }, "Show all " + order.length);
  byId("classcount").replaceChildren(shown.length + " of " + board.classes.names.length + " classes; accuracy in %, mean over seeds. Tick rows of the leaderboard to see others. ", ...(shown.length < order.length ? [more] : []));
  remember();
}
