// Solves the challenge of the login form before it is sent: the server hears another guess only after some work.
"use strict";
(() => {
  const form = document.querySelector("form[data-challenge]");
  if (!form) {
    return;
  }
  const K = [];
  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) {
    if (primes.every((p) => n % p)) {
      primes.push(n);
    }
  }
  const fraction = (x) => Math.floor((x - Math.floor(x)) * 4294967296) | 0;
  const START = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
  for (const p of primes) {
    K.push(fraction(Math.cbrt(p)));
  }
  const W = new Int32Array(64);

  // the first word of SHA-256; crypto.subtle is not there without https, and slower for so small texts
  const firstWord = (text) => {
    const bytes = new Uint8Array(Math.ceil((text.length + 9) / 64) * 64);
    for (let i = 0; i < text.length; i += 1) {
      bytes[i] = text.charCodeAt(i);
    }
    bytes[text.length] = 0x80;
    new DataView(bytes.buffer).setUint32(bytes.length - 4, text.length * 8);
    const view = new DataView(bytes.buffer);
    const state = [...START];
    for (let at = 0; at < bytes.length; at += 64) {
      for (let i = 0; i < 16; i += 1) {
        W[i] = view.getInt32(at + 4 * i);
      }
      for (let i = 16; i < 64; i += 1) {
        const a = W[i - 15];
        const b = W[i - 2];
        const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
        const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
        W[i] = (W[i - 16] + s0 + W[i - 7] + s1) | 0;
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i += 1) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + t1) | 0;
        d = c;
        c = b;
        b = a;
        a = (t1 + t2) | 0;
      }
      [a, b, c, d, e, f, g, h].forEach((word, i) => {
        state[i] = (state[i] + word) | 0;
      });
    }
    return state[0] >>> 0;
  };

  form.addEventListener("submit", (event) => {
    const solution = form.elements.solution;
    if (solution.value) {
      return;
    }
    event.preventDefault();
    const { challenge } = form.dataset;
    const bits = Number(challenge.split(".")[0]);
    form.querySelector("button").disabled = true;
    document.getElementById("working").hidden = false;
    let n = 0;
    const work = () => {
      for (const end = n + 5000; n < end; n += 1) {
        if (firstWord(`${challenge}:${n}`) >>> (32 - bits) === 0) {
          solution.value = String(n);
          form.submit();
          return;
        }
      }
      setTimeout(work, 0); // the page stays alive
    };
    work();
  });
})();
