"use strict";

/** An answer other than success: throw it. `subStatus` travels as x-ms-substatus. */
function refuse(status, message, subStatus) {
  return Object.assign(new Error(message), { status, subStatus });
}

module.exports = { refuse };
