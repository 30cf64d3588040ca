"use strict";
// Where an item lives: the effective partition key of a hierarchical ("MultiHash", version 2) key. Each component is
// hashed by itself (MurmurHash3, x64, 128 bits, seed 0), so that a prefix of the key is a prefix of the hash: a query
// over a prefix travels as the range [hash, hash + "FF").

const MASK = (1n << 64n) - 1n;
const C1 = 0x87c37b91114253d5n;
const C2 = 0x4cf5ad432745937fn;

const rotate = (value, bits) => ((value << bits) | (value >> (64n - bits))) & MASK;
const times = (a, b) => (a * b) & MASK;

function mix(value) {
  let mixed = times(value ^ (value >> 33n), 0xff51afd7ed558ccdn);
  mixed = times(mixed ^ (mixed >> 33n), 0xc4ceb9fe1a85ec53n);
  return mixed ^ (mixed >> 33n);
}

/** MurmurHash3_x64_128 of a buffer: 16 bytes, the low half first. */
function murmur128(bytes) {
  const padded = Buffer.concat([bytes, Buffer.alloc((16 - (bytes.length % 16)) % 16)]);
  let h1 = 0n;
  let h2 = 0n;
  for (let at = 0; at < padded.length; at += 16) {
    const whole = at + 16 <= bytes.length;
    h1 ^= times(rotate(times(padded.readBigUInt64LE(at), C1), 31n), C2);
    if (whole) h1 = (times((rotate(h1, 27n) + h2) & MASK, 5n) + 0x52dce729n) & MASK;
    h2 ^= times(rotate(times(padded.readBigUInt64LE(at + 8), C2), 33n), C1);
    if (whole) h2 = (times((rotate(h2, 31n) + h1) & MASK, 5n) + 0x38495ab5n) & MASK;
  }
  h1 ^= BigInt(bytes.length);
  h2 ^= BigInt(bytes.length);
  h1 = (h1 + h2) & MASK;
  h2 = (h2 + h1) & MASK;
  h1 = mix(h1);
  h2 = mix(h2);
  h1 = (h1 + h2) & MASK;
  h2 = (h2 + h1) & MASK;
  const hash = Buffer.alloc(16);
  hash.writeBigUInt64LE(h1, 0);
  hash.writeBigUInt64LE(h2, 8);
  return hash;
}

/** The hash of some components of a key, all of them text: 32 upper-case hexadecimal digits each. */
function effectiveKey(components) {
  return components
    .map((component) => {
      const hash = murmur128(Buffer.concat([Buffer.from([8]), Buffer.from(component), Buffer.from([0xff])])).reverse();
      hash[0] &= 0x3f;
      return hash.toString("hex").toUpperCase();
    })
    .join("");
}

module.exports = { effectiveKey };
