// Checks a proof with npm's @sigstore/verify: its tree and checkpoint code, without the certificates of its own log.
// Reads {"entry", "index", "path", "checkpoint", "name", "public_key"} (bytes in base64) from standard input, any number
// of them in an array; prints for each "ok" or what is wrong.
const { createPublicKey, createHash } = require("crypto");
const modules = process.argv[2];
const { verifyCheckpoint } = require(`${modules}/@sigstore/verify/dist/tlog/checkpoint`);
const { verifyMerkleInclusion } = require(`${modules}/@sigstore/verify/dist/tlog/merkle`);

const bytes = (text) => Buffer.from(text, "base64");
const ED25519 = Buffer.from("302a300506032b6570032100", "hex"); // what stands before a key in RFC 8410

function check(proof) {
  const key = bytes(proof.public_key);
  const id = Buffer.concat([Buffer.from(`${proof.name}\n`), Buffer.from([1]), key]);
  const log = {
    baseURL: proof.name,
    logID: createHash("sha256").update(id).digest(),
    publicKey: createPublicKey({ key: Buffer.concat([ED25519, key]), format: "der", type: "spki" }),
  };
  const entry = {
    canonicalizedBody: bytes(proof.entry),
    inclusionProof: {
      logIndex: String(proof.index),
      hashes: proof.path.map(bytes),
      checkpoint: { envelope: proof.checkpoint },
    },
  };
  try {
    verifyMerkleInclusion(entry, verifyCheckpoint(entry, [log]));
    return "ok";
  } catch (error) {
    return error.message;
  }
}

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => {
  const proofs = JSON.parse(Buffer.concat(chunks).toString());
  process.stdout.write(JSON.stringify(proofs.map(check)));
});
