// Paper is white: print with the light colors, also if the reader has chosen the dark ones.
const root = document.documentElement;
let chosen = null;

function toPaper() {
  chosen ??= root.dataset.theme;
  root.dataset.theme = "light";
}

function toScreen() {
  if (chosen !== null) root.dataset.theme = chosen;
  chosen = null;
}

addEventListener("beforeprint", toPaper);
addEventListener("afterprint", toScreen);
matchMedia("print").addEventListener("change", (paper) => (paper.matches ? toPaper() : toScreen()));
