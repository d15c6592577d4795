// A page without its licence.
export default 1;
