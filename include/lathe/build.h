/* lathe/build.h: typed constructors (a placeholder until the generator writes it from ops.def). Included by lathe.h. */
