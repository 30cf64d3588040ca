"use strict";
// The change feed of a container ("latest version" mode): each item once, in the order of its last write, as documented.
// A position is a log sequence number (LSN), one for each transaction; a page ends with a whole transaction.

const { refuse } = require("./errors");

const INCREMENTAL = "incremental feed";
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const DEFAULT_PAGE_ITEMS = 100;

/** The LSN after which a request wants to read. */
function startOf(header, lsn) {
  if (header === undefined) return 0;
  if (header === "*") return lsn;
  const digits = /^"?(\d+)"?$/.exec(header);
  if (!digits) throw refuse(400, "If-None-Match is an LSN in quotes, or *");
  return Number(digits[1]);
}

/** How many of some changes one page takes: to the limits, and to the end of the transaction that reaches them. */
function lengthOfPage(changes, limit) {
  let bytes = 0;
  let length = 0;
  while (length < changes.length) {
    const continues = length > 0 && changes[length].lsn === changes[length - 1].lsn;
    if (!continues && (length >= limit || bytes >= MAX_PAGE_BYTES)) break;
    bytes += Buffer.byteLength(JSON.stringify(changes[length].document));
    length += 1;
  }
  return length;
}

/** One request for changes: its status, headers and body. */
function answerFeed(documents, req) {
  const headers = req.headers;
  if (headers["a-im"].toLowerCase() !== INCREMENTAL) throw refuse(400, "not implemented: another mode of the change feed");
  if (headers["if-modified-since"] !== undefined) throw refuse(400, "not implemented: the change feed from a time on");
  const intended = headers["x-ms-cosmos-intended-collection-rid"];
  if (intended !== undefined && intended !== documents.definition._rid) {
    throw refuse(400, "The container is not the one that is meant: it was made anew.", 1024);
  }
  const after = startOf(headers["if-none-match"], documents.lsn);
  const changes = documents
    .reached(headers)
    .filter((each) => each.lsn > after)
    .sort((one, other) => one.lsn - other.lsn || (one.document._rid < other.document._rid ? -1 : 1));
  const size = Number(headers["x-ms-max-item-count"] ?? DEFAULT_PAGE_ITEMS);
  const page = changes.slice(0, lengthOfPage(changes, size > 0 ? size : DEFAULT_PAGE_ITEMS));
  if (page.length === 0) return { status: 304, headers: { etag: `"${documents.lsn}"` } };
  const found = page.map(({ document, lsn }) => ({ ...document, _lsn: lsn }));
  return {
    status: 200,
    headers: { etag: `"${page.at(-1).lsn}"`, "x-ms-item-count": page.length, "x-ms-request-charge": 1 + page.length / 2 },
    body: { _rid: documents.definition._rid, Documents: found, _count: found.length },
  };
}

module.exports = { answerFeed };
