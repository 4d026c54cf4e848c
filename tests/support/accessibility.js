// What a page must have for everybody to read it (WCAG 2.1 AA, as far as a program can tell); returns what is wrong.
(() => {
  const wrong = [];
  const say = (what, element) => wrong.push(what + (element ? ": " + element.outerHTML.slice(0, 120) : ""));
  const all = (selector) => [...document.querySelectorAll(selector)];
  if (!document.documentElement.lang) say("no language");
  if (!document.title.trim()) say("no title");
  const viewport = document.querySelector("meta[name=viewport]");
  if (!viewport || /user-scalable=no|maximum-scale/.test(viewport.content)) say("cannot be zoomed");
  if (document.querySelector("meta[http-equiv=refresh]")) say("reloads under the reader's hands");
  for (const landmark of ["header", "main", "footer"]) if (all(landmark).length !== 1) say("not one " + landmark);
  if (all("h1").length !== 1) say("not one h1");
  let level = 0;
  for (const heading of all("h1,h2,h3,h4,h5,h6")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) say("a level of headings is left out", heading);
    if (!heading.textContent.trim()) say("an empty heading", heading);
    level = now;
  }
  const ids = all("[id]").map((element) => element.id);
  if (new Set(ids).size !== ids.length) say("an id stands twice");
  for (const element of all("[aria-labelledby]"))
    if (!document.getElementById(element.getAttribute("aria-labelledby"))) say("labelled by nothing", element);
  for (const svg of all("svg"))
    if (svg.getAttribute("aria-hidden") !== "true" && !(svg.getAttribute("role") === "img" && svg.getAttribute("aria-label")))
      say("a picture without words", svg);
  for (const element of all("a,summary,button")) if (!element.textContent.trim()) say("a control without words", element);
  for (const head of all("th")) if (!head.scope) say("a table's head without a scope", head);
  for (const table of all("table")) if (!table.querySelector("th")) say("a table without heads", table);
  for (const element of all("section")) if (!element.getAttribute("aria-labelledby")) say("a section without a name", element);
  for (const element of all("*"))
    if (["auto", "scroll"].includes(getComputedStyle(element).overflowX) && element.tabIndex < 0) say("scrolls, but not by keyboard", element);
  for (const list of all("dl")) if (!list.querySelector("dt") || !list.querySelector("dd")) say("a broken list", list);
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) say("wider than the window");

  const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let here = element; here; here = here.parentElement) {
      const colour = getComputedStyle(here).backgroundColor;
      const channels = parts(colour);
      if (channels.length < 4 || channels[3] > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  for (const element of all("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.getAttribute("aria-hidden") === "true" || element.closest("script,style")) continue;
    const style = getComputedStyle(element);
    const [light, dark] = [luminance(style.color), luminance(background(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if ((light + 0.05) / (dark + 0.05) < (large ? 3 : 4.5)) say("too little contrast", element);
    if (size < 12) say("too small", element);
  }
  return wrong;
})()
