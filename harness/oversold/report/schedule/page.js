// Copies commands and the diagram, changes the theme, marks what scrolls sideways. Needs no network.
"use strict";
{
  const root = document.documentElement;
  const find = (selector) => [...document.querySelectorAll(selector)];
  root.classList.add("scripts");

  // ---- Copying, also where a page from disk may not use the clipboard's own interface.
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
    document.getElementById("told").textContent = done ? "Copied" : "Selected; press Ctrl+C";
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
  label();

  // ---- What scrolls shows it; what does not scroll needs no stop of the Tab key.
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
  for (const details of find("details")) details.addEventListener("toggle", measure);
  addEventListener("resize", measure);
  measure();
}
