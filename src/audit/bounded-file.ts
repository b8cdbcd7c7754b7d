/** Files that others hand in: read up to a bound, so that one without an end does not fill the memory. */
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** A file that is larger than anything it could rightly hold. */
export class TooLarge extends Error {
  override name = 'TooLarge'
}

const mib = 1_048_576
export const tooLarge = (name: string, most: number, what: string): TooLarge =>
  new TooLarge(`${name} is larger than ${most / mib} MiB: it is no ${what}.`)

/** At most this much of one file is read. CloudTrail's files hold some ten MiB; an anchor 300 bytes a customer. */
export const mostBytes = 384 * mib

/** @throws TooLarge, and what reading a file throws */
export async function readBounded(path: string, what: string, most = mostBytes): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: mib })) {
      chunks.push(chunk as Buffer)
      size += (chunk as Buffer).length
      if (size > most) throw tooLarge(path, most, what)
    }
    return Buffer.concat(chunks)
  } finally {
    await file.close()
  }
}

const unpack = promisify(gunzip)

/** The file's text, unpacked where it is gzipped. @throws TooLarge, and what reading and unpacking throws */
export async function readPacked(path: string, what: string, most = mostBytes): Promise<string> {
  const bytes = await readBounded(path, what, most)
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b
  if (!isPacked) return bytes.toString('utf8')
  const text = await unpack(bytes, { maxOutputLength: most }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge(path, most, what) : error
  })
  return text.toString('utf8')
}
