/** What start.ts and the event store's process tell each other. The address of the database is a secret: no argument. */
export type ToChild =
  | { readonly type: 'start'; readonly databaseUrl: string; readonly port: number }
  | { readonly type: 'stop' }

export type FromChild =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly message: string }

export function isToChild(message: unknown): message is ToChild {
  return typeof message === 'object' && message !== null && 'type' in message
}

export function isFromChild(message: unknown): message is FromChild {
  return typeof message === 'object' && message !== null && 'type' in message
}
