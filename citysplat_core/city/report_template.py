"""The report's page. A module and no data file, so that no installation can lack it."""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}: how it was built</title>
<style>
:root { color-scheme: light; --ink: #1c2529; --soft: #5d686d; --line: #e2ded5; --accent: #1f8a70;
  --bad: #c4472f; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
body { margin: 0; background: #fbfaf7; color: var(--ink); }
main { max-width: 1060px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { margin: 0 0 24px; font-size: 30px; letter-spacing: -0.015em; }
h2 { margin: 44px 0 14px; font-size: 19px; }
.facts { display: flex; flex-wrap: wrap; gap: 1px; background: var(--line);
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
.facts div { flex: 1 1 158px; background: #fff; padding: 12px 16px; }
.facts b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts .none { font-size: 16px; font-weight: 400; color: var(--soft); line-height: 32px; }
.facts span, .facts small { display: block; font-size: 13px; color: var(--soft);
  line-height: 1.35; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 12px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 500; color: var(--soft); }
.bar { width: 30%; min-width: 90px; }
.bar i { display: block; height: 9px; border-radius: 3px; background: var(--accent);
  min-width: 1px; }
.pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 26px 20px; }
figure { margin: 0; grid-column: 1 / -1; }
figure.strip { grid-column: auto; }
figure img { display: block; max-width: 100%; width: auto; height: auto; max-height: 760px;
  border-radius: 8px; border: 1px solid var(--line); background: #fff; }
figure.strip img { width: 100%; }
figcaption { margin-top: 6px; font-size: 14px; color: var(--soft); overflow-wrap: anywhere; }
dt { font-weight: 600; overflow-wrap: anywhere; }
dd { margin: 0 0 10px; color: var(--soft); overflow-wrap: anywhere; }
.failed dt { color: var(--bad); }
@media (max-width: 700px) { .pictures { grid-template-columns: 1fr; } }
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<div class="facts">
{% for fact in facts %}
<div><b{% if fact.is_missing %} class="none"{% endif %}>{{ fact.value }}</b>
<span>{{ fact.label }}</span>
{%- if fact.detail %}<small>{{ fact.detail }}</small>{% endif %}</div>
{% endfor %}
</div>
{% if failed %}
<h2>Failed</h2>
<dl class="failed">
{% for name, message in failed.items() %}
<dt>{{ name }}</dt><dd>{{ message }}</dd>
{% endfor %}
</dl>
{% endif %}
{% if skipped %}
<h2>Skipped</h2>
<dl>
{% for name, reason in skipped.items() %}
<dt>{{ name }}</dt><dd>{{ reason }}</dd>
{% endfor %}
</dl>
{% endif %}
{% if pictures %}
<h2>Pictures</h2>
<div class="pictures">
{% for picture in pictures %}
<figure{% if picture.is_strip %} class="strip"{% endif %}><img alt="{{ picture.title }}"
 width="{{ picture.width }}" height="{{ picture.height }}" src="{{ picture.source }}">
<figcaption>{{ picture.title }}</figcaption></figure>
{% endfor %}
</div>
{% if credit %}
<p><small>{{ credit }}</small></p>
{% endif %}
{% endif %}
{% if pairs %}
<h2>Pairs of photos, by what proposed them</h2>
<div class="scroll"><table>
{% set names = ["proposed", "refused", "matched", "verified"] %}
<tr><th>Source</th>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for source, numbers in pairs.items() %}
<tr><td>{{ source }}</td>
{%- for name in names %}<td>{{ numbers.get(name) | number }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
{% if stages %}
<h2>Stages</h2>
<div class="scroll"><table>
<tr><th>Stage</th><th>Runs</th><th>Seconds</th><th>CPU seconds</th><th>Peak memory, MB</th>
<th class="bar"></th></tr>
{% for stage in stages %}
<tr><td>{{ stage.name }}</td><td>{{ stage.get("runs") | number }}</td>
<td>{{ stage.get("seconds") | number }}</td><td>{{ stage.get("cpu_seconds") | number }}</td>
<td>{{ stage.get("peak_rss_mb") | number }}</td>
<td class="bar">{% if slowest > 0 %}<i style="width:
 {{- (100 * (stage.get("seconds") or 0) / slowest) | round(1) }}%"></i>{% endif %}</td></tr>
{% endfor %}
</table></div>
<p><small>Seconds are summed over boxes and fringes, which may run side by side; peak memory is that
of the largest single step.</small></p>
{% endif %}
</main>
</body>
</html>
"""
