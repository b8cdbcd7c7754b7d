/** Files that others hand in: read up to a bound, so that one without an end does not fill the memory. */
import { createReadStream } from 'node:fs'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** A file that is larger than anything it could rightly hold. */
export class TooLarge extends Error {
  override name = 'TooLarge'
}

/** A file that cannot be opened or read, or not unpacked. */
export class UnreadableFile extends Error {
  override name = 'UnreadableFile'
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'it may not be read by this user',
}

/** The system's words do not always name the file. */
function unreadable(path: string, cause: unknown): Error {
  if (cause instanceof TooLarge) return cause
  const { code = '', message } = cause as NodeJS.ErrnoException
  return new UnreadableFile(`${path} cannot be read: ${reasons[code] ?? message}.`, { cause })
}

/** @throws UnreadableFile */
export async function* chunksOfFile(path: string): AsyncGenerator<Buffer, void, void> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: mib })) yield chunk as Buffer
  } catch (error) {
    throw unreadable(path, error)
  }
}

const mib = 1_048_576
export const tooLarge = (name: string, most: number, what: string): TooLarge =>
  new TooLarge(`${name} is larger than ${most / mib} MiB: it is no ${what}.`)

/** At most this much of one file is read. CloudTrail's files hold some ten MiB; an anchor 300 bytes a customer. */
export const mostBytes = 384 * mib

/** @throws TooLarge, UnreadableFile */
export async function readBounded(path: string, what: string, most = mostBytes): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of chunksOfFile(path)) {
    chunks.push(chunk)
    size += chunk.length
    if (size > most) throw tooLarge(path, most, what)
  }
  return Buffer.concat(chunks)
}

const unpack = promisify(gunzip)

/** The file's text, unpacked where it is gzipped. @throws TooLarge, UnreadableFile */
export async function readPacked(path: string, what: string, most = mostBytes): Promise<string> {
  const bytes = await readBounded(path, what, most)
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b
  if (!isPacked) return bytes.toString('utf8')
  const text = await unpack(bytes, { maxOutputLength: most }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge(path, most, what) : unreadable(path, error)
  })
  return text.toString('utf8')
}
