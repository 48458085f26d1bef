/** The page for an address that leads nowhere. */

import { openPage } from '../shell.js';

openPage(() => {});
