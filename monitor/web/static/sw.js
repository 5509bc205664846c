// Service worker: saves the last state of overview, sites and alerts for reading without a connection, and shows push
// messages. It answers navigations and requests for versioned files only. Parts of pages and the stream of changes go
// to the server as if there were no service worker.
"use strict";
const VERSION = "{version}";
const SHELL_CACHE = `shell-${VERSION}`;
const PAGES_CACHE = "pages";
const MAX_AGE_MS = 7 * 86_400_000;
const MAX_PAGES = 30;
const ANSWER_TIMEOUT_MS = 10_000;
const SHELL_FILES = [
  "/offline",
  ...["slopeward.css", "theme.js", "icon.svg"].map((name) => `/static/${name}?v=${VERSION}`),
  ...[
    "translations.js",
    "refusals.js",
    "offline.js",
    "live/start.js",
    "live/ages.js",
    "live/header-clock.js",
    "live/morph.js",
    "live/refresh.js",
    "live/server-clock.js",
    "live/stale-page.js",
    "live/stream.js",
  ].map((name) => `/static/v/${VERSION}/${name}`),
];
// Overview, site pages and alert pages.
const SAVED_PAGES = /^\/(?:$|sites\/[^/]+$|alerts\/\d+$)/;
// Addresses at which another person may be logged in afterwards.
const SESSION_CHANGES = /^\/(?:login|logout|account\/sign-out|account\/password)/;
const HIDDEN_BANNER = '<div id="saved-copy" class="banner stale" role="alert" hidden>';

/** Return whether an address contains the version of the program, so that its content never changes. */
const isVersionedFile = (url) =>
  /^\/static\/v\//.test(url.pathname) || (/^\/(?:static|vendor)\//.test(url.pathname) && url.searchParams.has("v"));

/** Save the files that saved pages need, and replace the worker of an earlier version at once. */
const install = async () => {
  const shell = await caches.open(SHELL_CACHE);
  await shell.addAll(SHELL_FILES);
  await self.skipWaiting();
};

/** Delete the files of earlier versions. */
const activate = async () => {
  for (const name of await caches.keys()) {
    if (name !== SHELL_CACHE && name !== PAGES_CACHE) {
      await caches.delete(name);
    }
  }
  await self.clients.claim();
};

const showOfflinePage = async () => (await caches.match("/offline")) ?? Response.error();

/**
 * Return the saved copy of a page, or undefined. The copy contains the time of this device at which it was saved,
 * because the ages on it count from there.
 */
const findSavedPage = async (url) => {
  if (!SAVED_PAGES.test(url.pathname)) {
    return undefined;
  }
  const pages = await caches.open(PAGES_CACHE);
  const saved = await pages.match(url.pathname);
  if (!saved) {
    return undefined;
  }
  const savedAt = Number(saved.headers.get("X-Saved-At"));
  if (Date.now() - savedAt > MAX_AGE_MS) {
    return undefined;
  }
  const html = (await saved.text())
    .replace("<body ", `<body data-saved-at="${savedAt}" `)
    .replace(HIDDEN_BANNER, HIDDEN_BANNER.replace(" hidden", ""));
  return new Response(html, { headers: saved.headers });
};

/** Save a page, and forget one that is gone or that this person may not read any more. */
const savePage = async (answer, url) => {
  const pages = await caches.open(PAGES_CACHE);
  if (answer.status === 403 || answer.status === 404) {
    await pages.delete(url.pathname);
  }
  const isOtherView = url.search && !url.search.startsWith("?lang=");
  if (!answer.ok || answer.redirected || isOtherView) {
    return;
  }
  const headers = new Headers(answer.headers);
  headers.set("X-Saved-At", String(Date.now()));
  // Deleting it first moves the page to the end of the list, of which the oldest are removed.
  await pages.delete(url.pathname);
  await pages.put(url.pathname, new Response(await answer.text(), { headers }));
  for (const oldPage of (await pages.keys()).slice(0, -MAX_PAGES)) {
    await pages.delete(oldPage);
  }
};

/** Fail after a while if there is a saved copy; otherwise wait for the server as long as the browser does. */
const failIfSlow = async (url) => {
  await new Promise((resume) => setTimeout(resume, ANSWER_TIMEOUT_MS));
  if (await findSavedPage(url)) {
    throw new Error("no answer in time");
  }
  return new Promise(() => {});
};

/** Answer the request for a page: from the server, or the saved copy if the server cannot be reached. */
const answerPage = async (request, url) => {
  let answer;
  try {
    answer = await Promise.race([fetch(request), failIfSlow(url)]);
  } catch {
    return (await findSavedPage(url)) ?? showOfflinePage();
  }
  const isServiceAway = answer.status >= 502 && answer.status <= 504;
  if (isServiceAway) {
    // The proxy in front of the service answers.
    return (await findSavedPage(url)) ?? answer;
  }
  const isReturnFromProvider = SESSION_CHANGES.test(url.pathname) && url.pathname !== "/login";
  if (isReturnFromProvider || answer.status === 401) {
    await caches.delete(PAGES_CACHE);
  } else if (SAVED_PAGES.test(url.pathname)) {
    await savePage(answer.clone(), url).catch(() => {
      // The device has no room for it; the page is shown all the same.
    });
  }
  return answer;
};

/** Answer a form that was sent. */
const answerForm = async (request, url) => {
  if (SESSION_CHANGES.test(url.pathname)) {
    // The next person must not see what this person read.
    await caches.delete(PAGES_CACHE);
  }
  try {
    return await fetch(request);
  } catch {
    return showOfflinePage();
  }
};

/** Answer from the cache at once if possible, and load the file for the next time. */
const answerFile = async (request) => {
  const shell = await caches.open(SHELL_CACHE);
  const saved = await shell.match(request);
  const load = async () => {
    const answer = await fetch(request);
    if (answer.ok) {
      await shell.put(request, answer.clone());
    }
    return answer;
  };
  if (!saved) {
    return load();
  }
  load().catch(() => {
    // There is no connection; the saved file is shown.
  });
  return saved;
};

/** Show a push message. A message that cannot be read is shown without text, so that somebody looks at the page. */
const showMessage = (event) => {
  let message = {};
  try {
    message = event.data.json();
  } catch {
    // The message is empty or damaged.
  }
  const icon = `/static/icon-192.png?v=${VERSION}`;
  return self.registration.showNotification(message.title ?? "Slopeward", {
    body: message.body ?? "",
    tag: message.key ?? "slopeward",
    lang: message.language ?? "",
    timestamp: Date.parse(message.at) || Date.now(),
    icon,
    badge: icon,
    requireInteraction: message.ledger === "hazard",
    data: { url: message.url ?? "/" },
  });
};

/** Open the page of a message, in a window that shows it already if there is one. */
const openPage = async (url) => {
  for (const client of await self.clients.matchAll({ type: "window" })) {
    if (new URL(client.url).pathname === url.pathname) {
      return client.focus();
    }
  }
  return self.clients.openWindow(url);
};

self.addEventListener("install", (event) => event.waitUntil(install()));

self.addEventListener("activate", (event) => event.waitUntil(activate()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin) {
    return;
  }
  if (request.mode === "navigate") {
    event.respondWith(request.method === "GET" ? answerPage(request, url) : answerForm(request, url));
  } else if (request.method === "GET" && isVersionedFile(url)) {
    event.respondWith(answerFile(request));
  }
});

self.addEventListener("push", (event) => event.waitUntil(showMessage(event)));

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(event.notification.data?.url ?? "/", self.location.origin);
  if (url.origin === self.location.origin) {
    event.waitUntil(openPage(url));
  }
});
