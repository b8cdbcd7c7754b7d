/** What can be said of a picture without decoding it. Apart from the decoder: only the inference threads load libvips. */

export type ImageFormat = 'jpeg' | 'png'

/** The picture cannot be judged. The message is a sentence for the customer. */
export class InvalidImage extends Error {
  override readonly name = 'InvalidImage'
}

const SIGNATURES: Record<ImageFormat, number[]> = {
  jpeg: [0xff, 0xd8, 0xff],
  png: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
}

/** What the first bytes say, whatever a file is called; null for any other format. */
export function formatOf(bytes: Uint8Array): ImageFormat | null {
  const is = (format: ImageFormat) => SIGNATURES[format].every((byte, i) => bytes[i] === byte)
  return is('jpeg') ? 'jpeg' : is('png') ? 'png' : null
}
