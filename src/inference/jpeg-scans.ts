/** How many scans a JPEG has, without decoding it. Pure. Source of the markers: ITU-T T.81, annex B. */

const SOS = 0xda
const EOI = 0xd9
/**
 * Whether the segment's length follows the marker. Behind those that stand alone (RST0 to RST7, SOI, TEM) and those that
 * mean nothing (02 to BF) libjpeg reads on at once: what looks like a segment there would hide scans that it decodes.
 */
const hasSegment = (marker: number): boolean => marker >= 0xc0 && !(marker >= 0xd0 && marker <= 0xd9)

/** Scans up to the end of the picture, or of the bytes where they are cut off; what follows the end does not count. */
export function countScans(jpeg: Uint8Array): number {
  let scans = 0
  for (let at = nextMarker(jpeg, 0); at >= 0; at = nextMarker(jpeg, at)) {
    const marker = jpeg[at + 1] as number
    if (marker === EOI) break
    if (marker === SOS) scans += 1
    at += 2
    // Within a segment, such as a preview in EXIF, there may be anything.
    if (hasSegment(marker)) at += ((jpeg[at] ?? 0) << 8) | (jpeg[at + 1] ?? 0)
  }
  return scans
}

/** Where the next marker begins, from `from` on, −1 where there is none. Coded data hold FF only before a 00. */
function nextMarker(jpeg: Uint8Array, from: number): number {
  for (let at = jpeg.indexOf(0xff, from); at >= 0 && at + 1 < jpeg.length; at = jpeg.indexOf(0xff, at + 1)) {
    const next = jpeg[at + 1]
    if (next !== 0x00 && next !== 0xff) return at
  }
  return -1
}
