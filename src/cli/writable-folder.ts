import { access, constants, mkdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { CommandError } from './output.ts'

const reasons: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file',
  ENOENT: 'it cannot be made there',
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
    await make(resolve(into))
    await access(into, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    throw new CommandError(
      `Nothing can be written into ${resolve(into)}: ${reasons[code] ?? message}. Name another folder with --into.`,
    )
  }
}

/** Not mkdir's own `recursive`: Node 20 never comes back from it where a folder cannot be made though its parent is there. */
async function make(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(folder)).isDirectory()) return
    if (code !== 'ENOENT' || (await isThere(dirname(folder)))) throw error
    await make(dirname(folder))
    await mkdir(folder)
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
