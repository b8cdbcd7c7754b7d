import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Under its name the file is whole and on disk, or it is not there. */
export async function writeWhole(
  path: string,
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  mode = 0o666,
): Promise<void> {
  const part = `${path}.${randomUUID()}.part`
  const file = await open(part, 'wx', mode)
  try {
    for await (const chunk of content) await file.appendFile(chunk)
    await file.sync()
    await file.close()
    await rename(part, path)
  } catch (error) {
    await file.close().catch(() => {})
    await rm(part, { force: true })
    throw error
  }
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
