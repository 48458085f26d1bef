/** HTTP with words: a JSON request that answers with data or throws a Problem (RFC 9457). */

import { has, language, t } from './i18n.js';

const PATIENCE = 10_000; // ms; longer than the slowest line of our list needs for a small answer

/** A refusal with a code; `message` is a sentence for people. status 0: the server was not reached. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfter = null) {
    const known = `problem.${code}`;
    super(has(known) ? t(known) : detail || t('problem.other', { status }));
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter; // seconds
  }

  static async from(response) {
    let body = {};
    try {
      body = await response.json();
    } catch {
      // not a problem document: a proxy's page, say
    }
    const wait = Number.parseFloat(response.headers.get('Retry-After') || '');
    return new Problem(response.status, body.code || String(response.status), body.detail || body.title || '',
      Number.isFinite(wait) ? wait : null);
  }
}

/** fetch that gives up in time. A line that is down throws a Problem with status 0. */
export async function request(url, options = {}, send = (...args) => fetch(...args)) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), options.patience || PATIENCE);
  try {
    return await send(url, { cache: 'no-store', ...options, signal: control.signal });
  } catch (error) {
    throw new Problem(0, 'unreachable', String(error));
  } finally {
    clearTimeout(timer);
  }
}

export async function api(path, { token, method = 'GET', body, patience } = {}) {
  const headers = { 'Accept-Language': language() };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const response = await request(path, { method, headers, body: payload, patience });
  if (!response.ok) throw await Problem.from(response);
  return response.status === 204 ? null : response.json();
}
