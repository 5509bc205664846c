// Collapse the sections of a page that are not urgent, on a phone and while an alert is open. Without scripts, and where
// there is room, they are open.

const isNarrow = matchMedia("(max-width: 700px)");
// The map has a column of its own beside the situation, so that collapsing it saves no room.
const isBeside = matchMedia("(min-width: 1001px)");
const hasOpenAlert = "urgent" in document.getElementById("main").dataset;
const sections = [...document.querySelectorAll("details.fold[open]")];

/** Return the element that the address names, such as "reports" for "/sites/a#reports". */
const findTarget = () => {
  const id = location.hash.slice(1);
  return id ? document.getElementById(id) : null;
};

/** Return whether there is room for a section. */
const hasRoom = (section) => {
  if (section.matches(".site-map") && isBeside.matches) {
    return true;
  }
  const yieldsToAlert = hasOpenAlert && section.matches(".panel");
  return !isNarrow.matches && !yieldsToAlert;
};

let isPrinting = false;
let closedOnScreen = [];

const collapseSections = () => {
  // Paper is narrower than the screen, which is no reason to collapse anything.
  if (isPrinting) {
    return;
  }
  const target = findTarget();
  for (const section of sections) {
    section.open = hasRoom(section) || (target !== null && section.contains(target));
  }
};

/** Open all sections for the printer, because nobody can open them on paper. The map needs a screen. */
const openForPrint = () => {
  isPrinting = true;
  closedOnScreen = sections.filter((section) => !section.open && !section.matches(".site-map"));
  for (const section of closedOnScreen) {
    section.open = true;
  }
};

const closeAfterPrint = () => {
  isPrinting = false;
  for (const section of closedOnScreen) {
    section.open = false;
  }
};

/** Open the section that contains the target of a link, and every section around it. */
const revealTarget = () => {
  let section = findTarget()?.closest("details");
  while (section) {
    section.open = true;
    section = section.parentElement.closest("details");
  }
};

collapseSections();
revealTarget();
isNarrow.addEventListener("change", collapseSections);
isBeside.addEventListener("change", collapseSections);
addEventListener("hashchange", revealTarget);
addEventListener("beforeprint", openForPrint);
addEventListener("afterprint", closeAfterPrint);
