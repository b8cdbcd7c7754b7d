/** docker-compose.yml as compose reads it: anchors merged, variables replaced by their defaults. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { packageRoot } from '../../src/built.ts'

export const root = fileURLToPath(packageRoot)

export interface Service {
  readonly image: string
  readonly build?: { readonly context: string }
  readonly user?: string
  readonly profiles?: readonly string[]
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly secrets?: readonly string[]
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
  readonly read_only?: boolean
  readonly init?: boolean
  readonly tmpfs?: readonly string[]
  readonly restart?: string
  readonly stop_grace_period?: string
  readonly cap_drop?: readonly string[]
  readonly cap_add?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly deploy?: { readonly resources: { readonly limits: { readonly cpus: string; readonly memory: string } } }
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, null>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
}

export const composeText = readFileSync(`${root}docker-compose.yml`, 'utf8')

/** `${NAME:-default}` → default. Anything else with a dollar sign is refused: compose would warn and put nothing there. */
export function withDefaults(text: string): string {
  const replaced = text.replace(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1')
  const left = replaced.split('\n').find((line) => line.includes('$') && !line.trim().startsWith('#'))
  if (left !== undefined) throw new Error(`a variable without a default: ${left}`)
  return replaced
}

/** As compose does it: after parsing, so that a value without a default is an empty text and not nothing. */
function interpolated(node: unknown): unknown {
  if (typeof node === 'string') return withDefaults(node)
  if (Array.isArray(node)) return node.map(interpolated)
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, interpolated(value)]))
}

export const compose = interpolated(parse(composeText, { merge: true })) as ComposeFile

/** Services that run this application, by name. */
export const ours = Object.entries(compose.services).filter(([, { build }]) => build !== undefined)
