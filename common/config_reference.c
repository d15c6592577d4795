/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the schema rows give besides parsing: the reference page, and the test that the rows
 * themselves make sense.
 *
 * Nothing here runs while a service starts. The page is Markdown, a table per schema, in the
 * order of the rows; its ranges come from the types' own print functions.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

/* ---- self-test ---- */

struct selftest {
	const struct cfg_schema *schema;
	char *err;
	size_t err_n;
};

static int _printf_(3, 4) fault(struct selftest *t, const struct cfg_row *row, const char *fmt, ...)
{
	char why[300];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	snprintf(t->err, t->err_n, "%s: %s: %s", t->schema->name, row && row->name ? row->name : "(row)", why);
	return -EINVAL;
}

static bool good_name(const char *s)
{
	return s && *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

static int check_shape(struct selftest *t, const struct cfg_row *row)
{
	bool list = row->flags & CFG_LIST;
	if (!good_name(row->name))
		return fault(t, row, "the name must be lower-case letters, digits and _");
	if (!row->type == !row->sub)
		return fault(t, row, "needs either a type or a sub-schema");
	if ((row->flags & CFG_OPTIONAL_MAP) && (!row->sub || list))
		return fault(t, row, "only a map can be an optional map");
	if ((row->flags & CFG_SECRET) && (!row->type || list || row->def))
		return fault(t, row, "a secret is one value without a default");
	if ((row->flags & CFG_REQUIRED) && row->def)
		return fault(t, row, "is required and has a default");
	if (row->sub && row->def)
		return fault(t, row, "a map's defaults stand in its own rows");
	if ((row->type == &cfg_enum) && (!row->choices || !row->choices[0]))
		return fault(t, row, "has no choices");
	if (row->type == &cfg_enum && !list && !row->def && !(row->flags & CFG_REQUIRED))
		return fault(t, row, "a choice needs a default or is required");
	if (row->most && !list)
		return fault(t, row, "only a list has at most so many items");
	if (row->max && row->min > row->max)
		return fault(t, row, "min is above max");
	if (!row->help || !*row->help || strpbrk(row->help, "\n\t"))
		return fault(t, row, "needs one sentence of help");
	if (row->offset + cfg_row_size(row) > t->schema->size)
		return fault(t, row, "reaches beyond its struct");
	return 0;
}

static int check_against(struct selftest *t, const struct cfg_row *row, const struct cfg_row *other)
{
	if (strcmp(row->name, other->name) == 0)
		return fault(t, row, "is there twice");
	if (row->offset < other->offset + cfg_row_size(other) && other->offset < row->offset + cfg_row_size(row))
		return fault(t, row, "fills the same bytes as %s", other->name);
	return 0;
}

static int check_default(struct selftest *t, const struct cfg_row *row)
{
	struct text rest = text_of(row->def);
	char err[300];
	while (rest.p) {
		struct text v = row->flags & CFG_LIST ? text_trim(text_cut(&rest, ',')) : rest;
		int r = cfg_check_value(row, v, err, sizeof(err));
		if (r < 0)
			return fault(t, row, "the default is bad: %s", r == -ENOMEM ? "no memory" : err);
		if (!(row->flags & CFG_LIST))
			break;
	}
	return 0;
}

int cfg_schema_selftest(const struct cfg_schema *schema, char *err, size_t err_n)
{
	struct selftest t = { schema, err, err_n };
	int r = schema->name && schema->rows && schema->n_rows && schema->size ? 0 :
										 fault(&t, NULL, "the schema is empty");
	for (size_t i = 0; r == 0 && i < schema->n_rows; i++) {
		const struct cfg_row *row = &schema->rows[i];
		r = check_shape(&t, row);
		for (size_t k = 0; r == 0 && k < i; k++)
			r = check_against(&t, row, &schema->rows[k]);
		if (r == 0 && row->def)
			r = check_default(&t, row);
		if (r == 0 && row->sub)
			r = cfg_schema_selftest(row->sub, err, err_n);
	}
	return r;
}

/* ---- reference page ---- */

/* A table cell: a bar would end it, angle brackets would be HTML. */
static void put_cell(FILE *to, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '|':
			fputs("\\|", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '\n':
			fputc(' ', to);
			break;
		default:
			fputc(*s, to);
		}
}

/* The anchor that Markdown makes of a heading: dots are dropped. */
static void put_link(FILE *to, const char *heading)
{
	fprintf(to, "[%s](#", heading);
	for (; *heading; heading++)
		if (*heading != '.')
			fputc(*heading, to);
	fputc(')', to);
}

static void put_type(FILE *to, const struct cfg_row *row)
{
	if (row->flags & CFG_LIST)
		fputs(row->flags & CFG_BARE ? "one or a list of " : "list of ", to);
	if (row->sub) {
		fputs(row->flags & CFG_LIST ? "maps, see " : "map, see ", to);
		put_link(to, row->sub->name);
	} else {
		fputs(row->type->name, to);
	}
	for (size_t i = 0; row->choices && row->choices[i]; i++)
		fprintf(to, "%s`%s`", i ? ", " : ": ", row->choices[i]);
}

/* The range in the words of the type, through its own print function. */
static void put_range(FILE *to, const struct cfg_row *row)
{
	char low[40], high[40];
	struct sb lo = sb_init(low, sizeof(low)), hi = sb_init(high, sizeof(high));
	bool number = row->type && row->type->size == sizeof(uint64_t) && !row->type->free;
	if (row->most)
		fprintf(to, "at most %u items", row->most);
	if (!number || (!row->min && !row->max))
		return;
	row->type->print(row, &row->min, &lo);
	row->type->print(row, &row->max, &hi);
	if (row->max && row->max != UINT64_MAX)
		fprintf(to, "%s–%s", low, high);
	else
		fprintf(to, "at least %s", low);
}

static void put_row(FILE *to, const struct cfg_row *row)
{
	fprintf(to, "| `%s`%s%s%s | ", row->name, row->flags & CFG_SECRET ? ", `" : "",
		row->flags & CFG_SECRET ? row->name : "", row->flags & CFG_SECRET ? "_file`" : "");
	put_type(to, row);
	fputs(" | ", to);
	if (row->flags & CFG_REQUIRED)
		fputs("required", to);
	else if (row->def)
		fprintf(to, "`%s`", row->def);
	fputs(" | ", to);
	put_range(to, row);
	fprintf(to, " | %s | %s | ", row->unit ? row->unit : "", row->flags & CFG_RELOAD ? "yes" : "");
	put_cell(to, row->help);
	fputs(" |\n", to);
}

/* Schemas that are already on the page: one that several sections share has one table. */
struct page {
	FILE *to;
	const struct cfg_schema *seen[64];
	size_t n;
};

static void put_schema(struct page *p, const struct cfg_schema *schema)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->seen[i] == schema)
			return;
	if (p->n < ARRAY_LEN(p->seen))
		p->seen[p->n++] = schema;
	fprintf(p->to, "### %s\n\n| key | type | default | range | unit | reload | meaning |\n|---|---|---|---|---|---|---|\n",
		*schema->name ? schema->name : "Sections");
	for (size_t i = 0; i < schema->n_rows; i++)
		put_row(p->to, &schema->rows[i]);
	fputc('\n', p->to);
	for (size_t i = 0; i < schema->n_rows; i++)
		if (schema->rows[i].sub)
			put_schema(p, schema->rows[i].sub);
}

int cfg_reference_markdown(const struct cfg_schema *schema, FILE *to)
{
	struct page p = { .to = to };
	put_schema(&p, schema);
	return ferror(to) ? -EIO : 0;
}
