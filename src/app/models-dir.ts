import { access, constants, stat } from 'node:fs/promises'
import { type Config, ConfigError } from '../config.ts'

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'lies below a file',
  EACCES: 'may not be read by this user',
}

/**
 * Before weights are looked for: without this a folder that was mistyped, or not mounted, would quietly mean another
 * model set.
 *
 * @param options mayBeMade: the command makes the folder, as `liveness models download` does
 * @throws ConfigError
 */
export async function refuseUnusableModelsDir(
  { MODELS_DIR: folder }: Pick<Config, 'MODELS_DIR'>,
  { mayBeMade = false } = {},
): Promise<void> {
  if (folder === undefined) return
  const reason = await faultOf(folder)
  if (reason === undefined || (mayBeMade && reason === reasons.ENOENT)) return
  throw new ConfigError(
    `MODELS_DIR must be a folder that this user may read, but ${folder} ${reason}. ` +
      `${reason === reasons.ENOENT ? 'Make it' : 'Name another'}, or unset MODELS_DIR to use models/ of the package.`,
  )
}

async function faultOf(folder: string): Promise<string | undefined> {
  try {
    if (!(await stat(folder)).isDirectory()) return 'is a file'
    // Files are opened by name, so that entering it is what is needed.
    await access(folder, constants.X_OK)
    return undefined
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    return reasons[code] ?? `cannot be used (${message})`
  }
}
