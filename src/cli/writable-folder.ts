import { access, constants, mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CommandError } from './output.ts'

const reasons: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file',
  ENOTDIR: 'it lies below a file',
  EACCES: 'this user may not write there',
  EROFS: 'its file system is read-only',
}

/**
 * Makes the folder that a command's --into names, where there is none, before the command works for what goes there.
 * @throws CommandError where nothing can be written into it
 */
export async function openWritable(into: string): Promise<void> {
  try {
    await mkdir(into, { recursive: true })
    await access(into, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    throw new CommandError(
      `Nothing can be written into ${resolve(into)}: ${reasons[code] ?? message}. Name another folder with --into.`,
    )
  }
}
