// Sorts, filters and opens the rows of the report's table, copies commands, changes the theme. Needs no network.
"use strict";
{
  const root = document.documentElement;
  const find = (selector, within = document) => [...within.querySelectorAll(selector)];
  const table = document.getElementById("designs");
  const body = table.tBodies[0];
  const rows = find("tr.entry", body).map((row) => ({ row, more: row.nextElementSibling }));
  root.classList.add("scripts");

  // ---- Sorting: by the numbers in data-sort; what has none comes last, whichever way.
  const heads = find("thead th", table);

  const key = ({ row }, column) => {
    const said = row.cells[column].dataset.sort;
    const value = Number(said);
    return said === "" ? null : Number.isNaN(value) || row.cells[column].tagName === "TH" ? said : value;
  };

  const sort = (column) => {
    const head = heads[column];
    const was = head.getAttribute("aria-sort");
    const first = head.dataset.first === "high" ? "descending" : "ascending";
    const now = was === null ? first : was === "ascending" ? "descending" : "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [one, other] = [key(a, column), key(b, column)];
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (typeof one === "string" ? String(one).localeCompare(String(other)) : one - other)
        || key(a, 0) - key(b, 0);
    });
    body.append(...rows.flatMap(({ row, more }) => [row, more]));
  };

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));

  // ---- Choosing rows: by load, name and verdict.
  const load = document.getElementById("load");
  const name = document.getElementById("name");
  const boxes = find("#verdicts input");

  const choose = () => {
    const chosen = load ? load.value : "";
    const word = name.value.trim().toLowerCase();
    const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    table.classList.toggle("one-load", !load || chosen !== "");
    let of = 0;
    let shown = 0;
    for (const { row, more } of rows) {
      const here = chosen === "" || row.dataset.load === chosen;
      const fits = here && verdicts.has(row.dataset.verdict)
        && row.cells[1].dataset.sort.toLowerCase().includes(word);
      row.hidden = more.hidden = !fits;
      of += here;
      shown += fits;
    }
    const at = load && chosen !== "" ? ` at ${load.selectedOptions[0].textContent.trim()}` : "";
    document.getElementById("shown").textContent = `${shown === of ? "" : `${shown} of `}${of} rows${at}`;
    document.getElementById("nothing").hidden = shown > 0;
    measure();
  };

  // ---- Opening rows.
  const openers = rows.map(({ row }) => row.querySelector(".opener"));
  const expand = document.getElementById("expand");

  const open = (opener, wanted) => {
    opener.setAttribute("aria-expanded", wanted);
    document.getElementById(opener.getAttribute("aria-controls")).classList.toggle("open", wanted);
  };

  for (const opener of openers) {
    open(opener, false);
    opener.addEventListener("click", () => open(opener, opener.getAttribute("aria-expanded") !== "true"));
  }

  expand.addEventListener("click", () => {
    const wanted = expand.textContent === "Expand all";
    for (const opener of openers) open(opener, wanted);
    expand.textContent = wanted ? "Collapse all" : "Expand all";
  });

  // ---- Copying commands, also where a page from disk may not use the clipboard's own interface.
  const copyOld = (code) => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };

  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      done = copyOld(code);
    }
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    document.getElementById("told").textContent = done ? "Command copied" : "Command selected; press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  for (const button of find(".copy")) button.addEventListener("click", () => copy(button));

  // ---- Theme: the system's until somebody chooses another.
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };

  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);

  // ---- What scrolls shows it: a word above, and an edge that fades as long as there is more. What does not scroll
  // needs no stop of the Tab key.
  const fade = (box) => {
    box.classList.toggle("at-end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  };

  const measure = () => {
    for (const box of find(".scroll")) {
      const wide = box.scrollWidth > box.clientWidth;
      if (wide) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
      box.classList.toggle("wide", wide);
      fade(box);
    }
  };
  for (const box of find(".scroll")) box.addEventListener("scroll", () => fade(box));
  addEventListener("resize", measure);
  for (const details of find("details")) details.addEventListener("toggle", measure);

  name.addEventListener("input", choose);
  for (const control of [load, ...boxes]) control?.addEventListener("change", choose);
  label();
  choose();
}
