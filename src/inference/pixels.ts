/** An upright picture in memory: RGB, 8 bits a channel, interleaved, rows from the top, width × height × 3 bytes. */
export interface Pixels {
  width: number
  height: number
  data: Uint8Array
}

/** A rectangle in pixels, (x, y) being its top left corner. Not necessarily integers, not necessarily inside. */
export interface Rect {
  x: number
  y: number
  width: number
  height: number
}

/** Area two rectangles share. */
export function intersection(a: Rect, b: Rect): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
  return width > 0 && height > 0 ? width * height : 0
}

/** Intersection over union, 0 to 1. */
export function overlap(a: Rect, b: Rect): number {
  const shared = intersection(a, b)
  return shared === 0 ? 0 : shared / (a.width * a.height + b.width * b.height - shared)
}

/** The rectangle with integer edges inside a picture, at least one pixel in each direction. */
export function insidePicture(rect: Rect, picture: { width: number; height: number }): Rect {
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(Math.round(value), low), high)
  const x = clamp(rect.x, 0, picture.width - 1)
  const y = clamp(rect.y, 0, picture.height - 1)
  const right = clamp(rect.x + rect.width, x + 1, picture.width)
  const bottom = clamp(rect.y + rect.height, y + 1, picture.height)
  return { x, y, width: right - x, height: bottom - y }
}
