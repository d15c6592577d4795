// SPDX-License-Identifier: Apache-2.0
import { render } from 'preact';
import { App, begin } from './app.jsx';
import './style.css';

await begin();
render(<App />, document.getElementById('app'));
