/* parts.h: parts of images: what concat puts together, and what slice cuts off. */
#ifndef LT_PARTS_H
#define LT_PARTS_H
#include "ir/pass/pass.h"

/* Of a node that blocks as PARTS: do parts begin and end with a block of 16 channels, or with the last channel? */
bool lt_parts_of_blocks(const lt_graph *g, const lt_node *n);
/* Has each part all rows and columns, so that zeros around the whole stand around it too? */
bool lt_parts_of_planes(const lt_graph *g, const lt_node *n);
/* Does the slice n stand in what it is cut from as it would stand alone, but for its distance from image to image? */
bool lt_part_in_place(const lt_graph *g, const lt_node *n);
#endif
