/* SPDX-License-Identifier: MIT */
/* mutate - see mutate.h. */
#include "mutate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t mutant_random(struct mutant *m)
{
	uint64_t z = m->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

size_t mutant_pick(struct mutant *m, size_t n)
{
	return n ? (size_t)(mutant_random(m) % n) : 0;
}

/* ---- pieces ---- */

/* Most pieces are short; some are as long as the file. */
static size_t pick_len(struct mutant *m, size_t most)
{
	size_t bits = mutant_pick(m, 16);
	size_t len = 1 + mutant_pick(m, (size_t)1 << bits);

	return len < most ? len : most;
}

/* Replaces n bytes at `at` by k others; nothing when there is no room. */
static void replace(struct mutant *m, size_t at, size_t n, const uint8_t *by,
		    size_t k)
{
	if (at > m->len || n > m->len - at || m->len - n + k > m->cap)
		return;
	memmove(m->data + at + k, m->data + at + n, m->len - at - n);
	if (k)
		memcpy(m->data + at, by, k);
	m->len = m->len - n + k;
}

static void cut_end(struct mutant *m)
{
	m->len = mutant_pick(m, m->len);
}

static void remove_piece(struct mutant *m)
{
	size_t at = mutant_pick(m, m->len);

	replace(m, at, pick_len(m, m->len - at), NULL, 0);
}

static void repeat_piece(struct mutant *m)
{
	uint8_t piece[MUTANT_GROWTH];
	size_t at = mutant_pick(m, m->len);
	size_t len = pick_len(m, m->len - at);

	if (len > sizeof(piece))
		return;
	memcpy(piece, m->data + at, len);
	replace(m, mutant_pick(m, m->len + 1), 0, piece, len);
}

/* One piece as often as there is room: what is done for each shows. */
static void repeat_often(struct mutant *m)
{
	uint8_t piece[256];
	size_t at = mutant_pick(m, m->len);
	size_t len = pick_len(m, m->len - at);

	if (len > sizeof(piece))
		return;
	memcpy(piece, m->data + at, len);
	while (m->len + len <= m->cap)
		replace(m, at, 0, piece, len);
}

static void swap_pieces(struct mutant *m)
{
	uint8_t piece[256];
	size_t a = mutant_pick(m, m->len), b = mutant_pick(m, m->len);
	size_t gap = a < b ? b - a : a - b;
	size_t end = m->len - (a < b ? b : a);
	size_t len = pick_len(m, gap < end ? gap : end);

	if (len > sizeof(piece))
		return;
	memcpy(piece, m->data + a, len);
	memcpy(m->data + a, m->data + b, len);
	memcpy(m->data + b, piece, len);
}

static void fill_piece(struct mutant *m)
{
	size_t at = mutant_pick(m, m->len);
	size_t len = pick_len(m, m->len - at);

	memset(m->data + at, mutant_pick(m, 2) ? 0xff : 0, len);
}

/* ---- bytes and bits ---- */

static void flip_bit(struct mutant *m)
{
	m->data[mutant_pick(m, m->len)] ^= (uint8_t)(1u << mutant_pick(m, 8));
}

static void set_byte(struct mutant *m)
{
	m->data[mutant_pick(m, m->len)] = (uint8_t)mutant_random(m);
}

static void step_byte(struct mutant *m)
{
	m->data[mutant_pick(m, m->len)] += mutant_pick(m, 2) ? 1 : 255;
}

/* ---- numbers that could be lengths, counts, offsets ---- */

static uint64_t pick_number(struct mutant *m, uint64_t old)
{
	static const uint64_t odd[] = {0,
				       1,
				       2,
				       7,
				       8,
				       127,
				       128,
				       255,
				       256,
				       32767,
				       32768,
				       65535,
				       65536,
				       1000000,
				       0x7fffffff,
				       0x80000000,
				       0xffffffff,
				       0x100000000,
				       1ull << 40,
				       0x7fffffffffffffff,
				       1ull << 63,
				       0xfffffffffffffff8,
				       0xffffffffffffffff};

	switch (mutant_pick(m, 6)) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return old << mutant_pick(m, 8);
	case 3:
		return m->len - mutant_pick(m, 9) + 4;
	case 4:
		return mutant_pick(m, m->len + 1);
	default:
		return odd[mutant_pick(m, sizeof(odd) / sizeof(odd[0]))];
	}
}

static void change_field(struct mutant *m)
{
	size_t width = (size_t)2 << mutant_pick(m, 3);
	bool is_big = mutant_pick(m, 4) == 0;
	uint64_t v = 0;
	uint8_t *p;

	if (m->len < width)
		return;
	p = m->data + mutant_pick(m, m->len - width + 1);
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * (is_big ? width - 1 - i : i);
	v = pick_number(m, v);
	for (size_t i = 0; i < width; i++)
		p[i] = (uint8_t)(v >> 8 * (is_big ? width - 1 - i : i));
}

static void change_varint(struct mutant *m)
{
	size_t at = mutant_pick(m, m->len), n = 0, k = 0;
	uint8_t out[10];
	uint64_t v = 0;

	while (at + n < m->len && n < 9 && m->data[at + n] & 0x80) {
		v |= (uint64_t)(m->data[at + n] & 0x7f) << 7 * n;
		n++;
	}
	if (at + n == m->len)
		return;
	v |= (uint64_t)m->data[at + n] << 7 * n;
	for (v = pick_number(m, v); v >= 0x80 && k < 9; v >>= 7)
		out[k++] = (uint8_t)(v | 0x80);
	out[k++] = (uint8_t)v;
	replace(m, at, n + 1, out, k);
}

/* A number in digits, as headers of text have. */
static void change_digits(struct mutant *m)
{
	static const char *const odd[] = {"-1", "1e999", "0x10", "[]", "null"};
	size_t at = mutant_pick(m, m->len), n = 0;
	uint64_t v = 0;
	char out[24];

	while (at < m->len && (m->data[at] < '0' || m->data[at] > '9'))
		at++;
	for (; at + n < m->len && n < 19; n++) {
		if (m->data[at + n] < '0' || m->data[at + n] > '9')
			break;
		v = v * 10 + (m->data[at + n] - '0');
	}
	if (n == 0)
		return;
	if (mutant_pick(m, 8) == 0)
		snprintf(out, sizeof(out), "%s", odd[mutant_pick(m, 5)]);
	else
		snprintf(out, sizeof(out), "%llu",
			 (unsigned long long)pick_number(m, v));
	replace(m, at, n, (const uint8_t *)out, strlen(out));
}

/* ---- two files ---- */

/* The beginning of this one, the end of the other. */
static void splice(struct mutant *m, const uint8_t *other, size_t nother)
{
	size_t keep = mutant_pick(m, m->len + 1);
	size_t from = mutant_pick(m, nother);

	/* Often at the same place: what lies there means the same. */
	if (mutant_pick(m, 2) && keep < nother)
		from = keep;
	replace(m, keep, m->len - keep, other + from, nother - from);
}

static void insert_other(struct mutant *m, const uint8_t *other, size_t nother)
{
	size_t from = mutant_pick(m, nother);
	size_t len = pick_len(m, nother - from);
	size_t at = mutant_pick(m, m->len + 1);
	size_t over = mutant_pick(m, 2) ? len : 0;

	if (over > m->len - at)
		over = m->len - at;
	replace(m, at, over, other + from, len);
}

/* ---- all together ---- */

static void change(struct mutant *m)
{
	static void (*const changes[])(struct mutant *) = {
		flip_bit,     flip_bit,	     set_byte,	    set_byte,
		step_byte,    cut_end,	     remove_piece,  repeat_piece,
		swap_pieces,  fill_piece,    change_field,  change_field,
		change_field, change_varint, change_varint, change_digits};

	if (m->len)
		changes[mutant_pick(m, sizeof(changes) / sizeof(changes[0]))](
			m);
}

void mutate(struct mutant *m, const uint8_t *other, size_t nother)
{
	size_t n = 1 + mutant_pick(m, mutant_pick(m, 4) + 1);
	size_t which = mutant_pick(m, 20);

	if (nother && which == 0)
		splice(m, other, nother);
	else if (nother && which == 1)
		insert_other(m, other, nother);
	else if (m->len && which == 2 && mutant_pick(m, 4) == 0)
		repeat_often(m);
	while (n-- > 0)
		change(m);
}
