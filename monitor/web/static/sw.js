// Service worker: keeps the last state of overview, sites and alerts for reading without a
// connection, shows push messages.
"use strict";
const VERSION = "{version}";
const SHELL = `shell-${VERSION}`;
const PAGES = "pages";
const OLDEST = 7 * 86_400_000;
const MOST = 30;
const PATIENCE = 10_000; // ms; pages; ms until a kept page is better than none
const FIRST = ["slopeward.css", "theme.js", "words.js", "kept.js", "live.js", "icon.svg"].map(
  (name) => `/static/${name}?v=${VERSION}`,
);
const KEPT = /^\/(?:$|sites\/[^/]+$|alerts\/\d+$)/;
const DOOR = /^\/(?:login|logout|account\/sign-out|account\/password)/; // who is signed in changes here
const UNSEEN = '<div id="kept" class="banner stale" role="alert" hidden>';

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(SHELL)
      .then((shell) => shell.addAll(["/offline", ...FIRST]))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name !== SHELL && name !== PAGES) {
          await caches.delete(name);
        }
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin) {
    return;
  }
  if (request.mode === "navigate") {
    event.respondWith(request.method === "GET" ? visit(request, url) : act(request, url));
  } else if (request.method === "GET" && /^\/(?:static|vendor)\//.test(url.pathname) && url.searchParams.has("v")) {
    event.respondWith(load(request));
  }
});

const visit = async (request, url) => {
  try {
    const answer = await Promise.race([fetch(request), giveUp(url)]);
    if (answer.status >= 502 && answer.status <= 504) {
      return (await find(url)) ?? answer;
    } // of a proxy: the service is away
    if (DOOR.test(url.pathname) && url.pathname !== "/login") {
      await caches.delete(PAGES);
    } // back from a provider of logins
    if (answer.status === 401) {
      await caches.delete(PAGES);
    } else if (KEPT.test(url.pathname)) {
      await keep(answer.clone(), url);
    }
    return answer;
  } catch {
    return (await find(url)) ?? away();
  }
};

// a page that is asked for on a bad line: after a while the kept one, if there is one
const giveUp = async (url) => {
  await new Promise((done) => setTimeout(done, PATIENCE));
  if (await find(url)) {
    throw new Error("no answer in time");
  }
  return new Promise(() => {});
};

const act = async (request, url) => {
  try {
    if (DOOR.test(url.pathname)) {
      await caches.delete(PAGES);
    } // what one person read is not shown to the next
    return await fetch(request);
  } catch {
    return away();
  }
};

const away = async () => (await caches.match("/offline")) ?? Response.error();

// scripts and styles: what is there at once, and anew for the next time (the browser asks the server once a day)
const load = async (request) => {
  const shell = await caches.open(SHELL);
  const known = await shell.match(request);
  const fresh = fetch(request).then(async (answer) => {
    if (answer.ok) {
      await shell.put(request, answer.clone());
    }
    return answer;
  });
  if (!known) {
    return fresh;
  }
  fresh.catch(() => {
    /* no connection */
  });
  return known;
};

const keep = async (answer, url) => {
  const pages = await caches.open(PAGES);
  if (answer.status === 403 || answer.status === 404) {
    await pages.delete(url.pathname);
  }
  if (!answer.ok || answer.redirected || (url.search && !url.search.startsWith("?lang="))) {
    return;
  }
  const headers = new Headers(answer.headers);
  headers.set("X-Kept-At", String(Date.now()));
  await pages.delete(url.pathname);
  await pages.put(url.pathname, new Response(await answer.text(), { headers }));
  for (const old of (await pages.keys()).slice(0, -MOST)) {
    await pages.delete(old);
  }
};

// the page as it was, marked as kept: with the time of this device when it came, for ages count from there
const find = async (url) => {
  const known = KEPT.test(url.pathname) ? await (await caches.open(PAGES)).match(url.pathname) : undefined;
  const at = known ? Number(known.headers.get("X-Kept-At")) : 0;
  if (!known || Date.now() - at > OLDEST) {
    return undefined;
  }
  const text = (await known.text())
    .replace("<body ", `<body data-kept="${at}" `)
    .replace(UNSEEN, UNSEEN.replace(" hidden", ""));
  return new Response(text, { headers: known.headers });
};

self.addEventListener("push", (event) => {
  let said = {};
  try {
    said = event.data.json();
  } catch {
    /* a message without a text still says that there is one */
  }
  event.waitUntil(
    self.registration.showNotification(said.title ?? "Slopeward", {
      body: said.body ?? "",
      tag: said.key ?? "slopeward",
      lang: said.language ?? "",
      timestamp: Date.parse(said.at) || Date.now(),
      icon: `/static/icon-192.png?v=${VERSION}`,
      badge: `/static/icon-192.png?v=${VERSION}`,
      requireInteraction: said.ledger === "hazard",
      data: { url: said.url ?? "/" },
    }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(event.notification.data?.url ?? "/", self.location.origin);
  if (url.origin !== self.location.origin) {
    return;
  }
  event.waitUntil(
    (async () => {
      for (const client of await self.clients.matchAll({ type: "window" })) {
        if (new URL(client.url).pathname === url.pathname) {
          return client.focus();
        }
      }
      return self.clients.openWindow(url);
    })(),
  );
});
