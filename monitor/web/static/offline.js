// Start the service worker, which saves pages for reading without a connection, and list the saved pages on the page
// "No connection".

const startWorker = () => {
  if (!navigator.serviceWorker || !isSecureContext) {
    return;
  }
  navigator.serviceWorker.register("/sw.js").catch(() => {
    // A private window allows no service worker; nothing is saved.
  });
};

/** Return a list item with a link to a saved page and the time at which it was saved. */
const makeItem = async (request, response) => {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const savedAt = new Date(Number(response.headers.get("X-Saved-At")));
  const link = document.createElement("a");
  link.href = new URL(request.url).pathname;
  link.textContent = page.title;
  const item = document.createElement("li");
  item.append(link, ` ${savedAt.toLocaleString()}`);
  return item;
};

const listSavedPages = async () => {
  const list = document.getElementById("saved-pages");
  if (!list || !window.caches) {
    return;
  }
  const pages = await caches.open("pages");
  for (const request of await pages.keys()) {
    list.append(await makeItem(request, await pages.match(request)));
  }
};

startWorker();
listSavedPages();
document.getElementById("retry")?.addEventListener("click", () => location.reload());
