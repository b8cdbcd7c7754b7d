/** Programs of Debian that check or run what is not ours: promtool, prometheus, caddy. */
import { execFileSync } from 'node:child_process'

/** Whether a program is installed; says aloud what is not tested when not. */
export function haveTool(program: string, suite: string): boolean {
  try {
    execFileSync(program, [program === 'caddy' ? 'version' : '--version'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(
      `SKIPPED: ${suite} needs ${program} (Debian: apt-get install ${program === 'caddy' ? 'caddy' : 'prometheus'})`,
    )
    return false
  }
}
