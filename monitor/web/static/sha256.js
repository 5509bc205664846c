// SHA-256 (FIPS 180-4) of a short text, synchronous: `crypto.subtle` needs https, and is slower for texts this short.

const BLOCK_BYTES = 64;
const ROUNDS = 64;

/** Return the first prime numbers. */
const listPrimes = (count) => {
  const primes = [];
  for (let candidate = 2; primes.length < count; candidate += 1) {
    if (primes.every((prime) => candidate % prime)) {
      primes.push(candidate);
    }
  }
  return primes;
};

/** Return the first 32 bits of the fractional part of a number. */
const takeFraction = (number) => Math.floor((number - Math.floor(number)) * 2 ** 32) | 0;

const PRIMES = listPrimes(ROUNDS);
const INITIAL_STATE = PRIMES.slice(0, 8).map((prime) => takeFraction(Math.sqrt(prime)));
const ROUND_CONSTANTS = PRIMES.map((prime) => takeFraction(Math.cbrt(prime)));

const schedule = new Int32Array(ROUNDS);

const rotateRight = (word, bits) => (word >>> bits) | (word << (32 - bits));

/** Return an ASCII text with padding, in whole blocks. */
const padText = (text) => {
  // The padding is a bit 1, zeros, and the length in 8 bytes.
  const bytes = new Uint8Array(Math.ceil((text.length + 9) / BLOCK_BYTES) * BLOCK_BYTES);
  for (let i = 0; i < text.length; i += 1) {
    bytes[i] = text.charCodeAt(i);
  }
  bytes[text.length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, text.length * 8);
  return view;
};

const fillSchedule = (view, offset) => {
  for (let i = 0; i < 16; i += 1) {
    schedule[i] = view.getInt32(offset + 4 * i);
  }
  for (let i = 16; i < ROUNDS; i += 1) {
    const w15 = schedule[i - 15];
    const w2 = schedule[i - 2];
    const sigma0 = rotateRight(w15, 7) ^ rotateRight(w15, 18) ^ (w15 >>> 3);
    const sigma1 = rotateRight(w2, 17) ^ rotateRight(w2, 19) ^ (w2 >>> 10);
    schedule[i] = (schedule[i - 16] + sigma0 + schedule[i - 7] + sigma1) | 0;
  }
};

/** Update the state by one block, whose schedule is filled. */
const compressBlock = (state) => {
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < ROUNDS; i += 1) {
    const sum1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + sum1 + choice + ROUND_CONSTANTS[i] + schedule[i]) | 0;
    const sum0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const t2 = (sum0 + majority) | 0;
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
};

/** Return the first 32 bits of the digest of an ASCII text, as a number from 0. */
export const computeFirstWord = (text) => {
  const view = padText(text);
  const state = [...INITIAL_STATE];
  for (let offset = 0; offset < view.byteLength; offset += BLOCK_BYTES) {
    fillSchedule(view, offset);
    compressBlock(state);
  }
  return state[0] >>> 0;
};
