// Load large parts of a page when their details are opened. `data-load` contains the address of a page and the id of
// the part of it, such as "/alerts/7/evidence#evidence".

/** Load the part once. If that fails, the link inside the details leads to the page. */
const loadPart = async (details) => {
  const placeholder = details.querySelector(".loads");
  if (!details.open || !placeholder || placeholder.dataset.isRequested) {
    return;
  }
  placeholder.dataset.isRequested = "yes";
  const [address, id] = details.dataset.load.split("#");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      placeholder.replaceWith(...page.getElementById(id).children);
      return;
    }
  } catch {
    // The service cannot be reached, or the answer does not contain the part.
  }
  // The next opening requests it again.
  delete placeholder.dataset.isRequested;
};

for (const details of document.querySelectorAll("details[data-load]")) {
  details.addEventListener("toggle", () => loadPart(details));
  loadPart(details);
}
