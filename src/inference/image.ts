import sharp, { type Metadata } from 'sharp'
import { formatOf, type ImageFormat, InvalidImage } from './image-format.ts'
import { countScans } from './jpeg-scans.ts'
import type { Pixels } from './pixels.ts'

/**
 * 50 million pixels: the largest phone photographs (8160 × 6120) pass, and a decoded picture stays below 150 MB.
 * What the header announces is checked before anything is decoded, so a bomb costs nothing.
 */
const MAX_PIXELS = 50_000_000

/**
 * Encoders make about ten scans. Each goes over the whole picture, be it empty, and libjpeg reads all of them before
 * libvips looks at the clock: thousands fit into a few hundred kilobytes and would take minutes.
 */
const MAX_SCANS = 50

/** Scans times pixels: thirteen over the largest picture, which is below a second of one thread. */
const MAX_SCANNED = 13 * MAX_PIXELS

/** A picture whose decoding is made slow in another way is given up after this time. */
const MAX_DECODE_SECONDS = 10

/**
 * Decodes a picture to upright RGB.
 *
 * The signature is compared before libvips sees a byte, so that of its many loaders only these two ever run.
 * Embedded colour profiles are applied to CMYK only: the models were trained on RGB values as stored.
 * Transparent pixels are laid over white, as a browser shows them.
 *
 * @throws InvalidImage
 */
export async function decodeImage(bytes: Uint8Array, format: ImageFormat): Promise<Pixels> {
  refuseOtherFormats(bytes, format)
  const scans = format === 'jpeg' ? countScans(bytes) : 0
  if (scans > MAX_SCANS) throw new InvalidImage(TOO_MANY_SCANS)
  // Warnings are let pass: cameras write harmless garbage between JPEG segments. Missing data is an error.
  const options = { failOn: 'error', limitInputPixels: MAX_PIXELS, sequentialRead: true } as const
  let header: Metadata
  try {
    header = await sharp(bytes, options).metadata()
  } catch (error) {
    throw tooLarge(error) ?? undecodable(format, error)
  }
  const pixels = header.width * header.height
  if (pixels > MAX_PIXELS) throw new InvalidImage(TOO_LARGE)
  if (scans * pixels > MAX_SCANNED) {
    throw new InvalidImage(`The image is a JPEG of ${scans} scans, too many for its size: ${BASELINE}`)
  }
  try {
    const { data, info } = await sharp(bytes, { ...options, autoOrient: true, ignoreIcc: header.space !== 'cmyk' })
      .timeout({ seconds: MAX_DECODE_SECONDS })
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, data }
  } catch (error) {
    throw tooLarge(error) ?? undecodable(format, error)
  }
}

function refuseOtherFormats(bytes: Uint8Array, declared: ImageFormat): void {
  const real = formatOf(bytes)
  if (real === declared) return
  throw new InvalidImage(
    real
      ? `The image is ${article(real)} file, but image_format says ${declared}`
      : `The image is not ${article(declared)} file`,
  )
}

const BASELINE = 'save it anew, as a baseline JPEG'
const TOO_MANY_SCANS = `The image is a JPEG of more than ${MAX_SCANS} scans: ${BASELINE}`
const TOO_SLOW = `The image takes more than ${MAX_DECODE_SECONDS} seconds to decode: save it anew`
const TOO_LARGE = `The image has more than ${MAX_PIXELS / 1_000_000} million pixels`

function tooLarge(error: unknown): InvalidImage | undefined {
  return error instanceof Error && /exceeds pixel limit/i.test(error.message) ? new InvalidImage(TOO_LARGE) : undefined
}

function undecodable(format: ImageFormat, cause: unknown): InvalidImage {
  if (cause instanceof Error && /^timeout/i.test(cause.message)) return new InvalidImage(TOO_SLOW, { cause })
  return new InvalidImage(`The image could not be decoded: the ${format.toUpperCase()} data is damaged or incomplete`, {
    cause,
  })
}

function article(format: ImageFormat): string {
  return format === 'jpeg' ? 'a JPEG' : 'a PNG'
}
