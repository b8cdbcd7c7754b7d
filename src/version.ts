import { readFileSync } from 'node:fs'
import { packageRoot } from './built.ts'

/** The package's version; `metadata.ver` of every answer. */
export const { version } = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8')) as { version: string }
