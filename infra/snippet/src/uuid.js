let last = 0;

/**
 * Return a UUIDv7 (RFC 9562): its first 48 bits are the time, so ids sort as they were made.
 * Two of one millisecond are told apart by letting the second be a millisecond later.
 */
export function uuid() {
  last = Math.max(Date.now(), last + 1);
  const time = last.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`;
}
